import fs from "node:fs";
import { errnoName } from "../../uapi/errno.ts";
import { isShortage, shortageText } from "../descriptor-shortage.ts";
import { memoryFile, socketPair } from "../descriptors.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { InterposerError } from "../interposer-error.ts";
import { close, posixSpawn, syscall } from "../libc.ts";
import { F_DUPFD_CLOEXEC, MFD_EXEC } from "../linux.ts";
import { launcherImage } from "./launcher-image.ts";

export interface Launcher {
  readonly pid: number;
  /** Our end of the control socket. */
  readonly socket: number;
  /** The launcher's end, as it numbers it. */
  readonly control: number;
  /** A number that is free there, and not the lowest: that is what an open there returns. */
  readonly scratch: number;
  /** Another that is free. */
  readonly fuse: number;
  /** Our end of a socket that descriptors come over, and its end as it numbers it; undefined without `sends`. */
  readonly rights: { readonly socket: number; readonly number: number } | undefined;
}

interface Looks {
  readonly name: string;
  /** Its stdin, stdout and stderr, in the place of ours. */
  readonly standard?: readonly (number | undefined)[];
  /** It has a session of its own. */
  readonly session?: boolean;
  /** It will send descriptors. */
  readonly sends?: boolean;
}

/**
 * Starts the launcher with our stdin, stdout and stderr. @param descriptors others that it has under the same numbers
 */
export function spawnLauncher(
  descriptors: readonly number[],
  { name, standard = [], session = false, sends = false }: Looks = { name: "uvfio-launcher" },
): Launcher {
  const free = (from: number): number => (descriptors.includes(from) ? free(from + 1) : from);
  const control = free(3);
  const scratch = free(free(control + 1) + 1);
  const fuse = free(scratch + 1);
  const pair = socketPair();
  if (pair === undefined) throw new InterposerError("host-failed", shortageText());
  const socket = pair[0];
  const far = aside(pair[1], control);
  const image = aside(imageFile(control), control);
  const kept = new Map(descriptors.map((fd) => [fd, fd]));
  const rights = sends ? rightsSocket(kept, free(fuse + 1)) : undefined;
  for (const fd of [0, 1, 2]) kept.set(fd, standard[fd] ?? fd);
  const path = `/proc/self/fd/${image}`;
  const pid = posixSpawn({ path, argv: [name], descriptors: kept.set(control, far), session });
  close(image);
  close(far);
  if (rights) close(rights.far);
  if (pid > 0) return { pid, socket, control, scratch, fuse, rights };
  close(socket);
  if (rights) close(rights.socket);
  const noexec = errnoName(-pid) === "EACCES" ? ": sysctl vm.memfd_noexec must be below 2" : "";
  throw new InterposerError("host-failed", `the launcher cannot be started (${errnoName(-pid)})${noexec}`);
}

/** A socket for the launcher to send descriptors over, called `number` there. */
function rightsSocket(kept: Map<number, number>, number: number) {
  const pair = socketPair();
  if (pair === undefined) throw new InterposerError("host-failed", shortageText());
  const [socket, far] = pair;
  kept.set(number, far);
  return { socket, far, number };
}

/** Moves a descriptor out of the way of the one number of the new process that may be another one's here. */
function aside(fd: number, control: number): number {
  if (fd !== control) return fd;
  const moved = syscall(HOST_CALLS.fcntl, fd, F_DUPFD_CLOEXEC, control + 1);
  close(fd);
  return moved;
}

/** The launcher as a file in memory. */
function imageFile(control: number): number {
  const image = launcherImage(process.arch, control);
  if (image === undefined) throw new InterposerError("host-failed", `programs on ${process.arch} cannot be served`);
  const file = memoryFile("uvfio-launcher", MFD_EXEC);
  if (isShortage(file)) throw new InterposerError("host-failed", shortageText());
  if (file < 0) throw new InterposerError("host-failed", `a file in memory is refused (${errnoName(-file)})`);
  fs.writeSync(file, image);
  return file;
}
