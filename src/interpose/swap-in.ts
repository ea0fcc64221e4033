import type { DeviceNode } from "../kernel/host-kernel.ts";
import type { CallContext } from "./call-context.ts";
import type { InjectedFile } from "./injected-files.ts";
import { close } from "./libc.ts";
import { O_CLOEXEC, O_PATH } from "./linux.ts";
import { descriptorFlags } from "./proc-file.ts";
import { failInstall } from "./program-files.ts";

/**
 * A descriptor of a node's stand-in, with a request for the real thing: it was opened for reading only, or through
 * io_uring, neither of which the filter traps. The node is opened now and takes the descriptor's place.
 *
 * What differs from an open at the right time: a group that is busy says so at its first request; and duplicates that
 * were made before it are swapped one by one, each to a file of its own.
 * @returns undefined when the descriptor takes no requests at all (O_PATH)
 */
export function swapIn(context: CallContext, node: DeviceNode, fd: number): InjectedFile | undefined {
  const { task, kernel, files, listener } = context.on;
  const flags = descriptorFlags(task.tid, fd);
  if (flags === undefined || (flags & O_PATH) !== 0) return undefined;
  context.path = node.path;
  // Its stand-in's permissions were checked when the kernel opened that.
  task.mayOpenNode = true;
  const description = kernel.open(task, node.path, flags);
  const made = files.create(description, node, flags);
  const result = typeof made === "number" ? made : listener.replaceDescriptor(made.fd, fd, flags & O_CLOEXEC);
  if (typeof made !== "number") {
    if (result < 0) files.forget(made.file);
    close(made.fd);
    if (result >= 0) return made.file;
  }
  description.release();
  failInstall(result, description.label);
}
