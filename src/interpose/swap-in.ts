import { fail } from "../kernel/errors.ts";
import type { CallContext } from "./call-context.ts";
import { refuseNotedShortage } from "./descriptor-shortage.ts";
import type { InjectedFile, Origin } from "./injected-file.ts";
import { O_CLOEXEC, O_PATH } from "./linux.ts";
import { descriptorFlags } from "./proc-file.ts";
import { failInstall } from "./program-files.ts";

/**
 * A descriptor of a node's stand-in, with a request for the real thing: it was opened for reading only, or through
 * io_uring, neither of which the filter traps. The node is opened now and takes the descriptor's place.
 *
 * What differs from an open at the right time: a group that is busy says so at its first request; and duplicates that
 * were made before it are swapped one by one, each to a file of its own. A file of ours that a program opened once more
 * by itself, through /proc/self/fd, is the same: that was an open of its node.
 * @param origin undefined for a file that no node leads to, and that cannot be opened again
 * @returns undefined when the descriptor takes no requests at all (O_PATH)
 */
export function swapIn(context: CallContext, origin: Origin | undefined, fd: number): InjectedFile | undefined {
  const { task, kernel, files, installs } = context.on;
  const flags = descriptorFlags(task.tid, fd);
  if (flags === undefined) refuseNotedShortage();
  if (flags === undefined || (flags & O_PATH) !== 0) return undefined;
  if (origin === undefined) fail("ENXIO", "a device's or a queue's file cannot be opened by a path");
  const { node } = origin;
  context.path = node.path;
  // Its stand-in's permissions were checked when the kernel opened that.
  task.mayOpenNode = true;
  const description = kernel.open(task, node.path, flags);
  const made = files.create(description, origin, flags);
  const result = typeof made === "number" ? made : installs.replace(made, flags & O_CLOEXEC, fd);
  if (typeof made !== "number" && result >= 0) return made.file;
  description.release();
  failInstall(result, description.label);
}
