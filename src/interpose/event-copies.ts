import { ERRNO } from "../uapi/errno.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import { F_DUPFD_CLOEXEC } from "./linux.ts";
import { descriptorsOf, readProc } from "./proc-file.ts";

/** Which eventfd a descriptor is, system-wide (fdinfo, Linux 5.2); undefined for other files. */
export function eventfdId(pid: number, fd: number | string): string | undefined {
  return /^eventfd-id:\s*(\S+)/m.exec(readProc(pid, `fdinfo/${fd}`) ?? "")?.[1];
}

/** So many copies are kept before it is looked for those that no program has any more. */
const FIRST_LOOK = 64;

/**
 * Eventfds of programs whose descriptors may not be fetched (pidfd_getfd(2) is refused): they are made here, and a copy
 * of each is kept as long as a program has it.
 */
export class EventCopies {
  readonly #byId = new Map<string, number>();
  readonly #pids: () => Iterable<number>;
  #nextLook = FIRST_LOOK;

  /** @param pids the programs' processes */
  constructor(pids: () => Iterable<number>) {
    this.#pids = pids;
  }

  keep(fd: number): void {
    const id = eventfdId(process.pid, fd);
    const copy = id === undefined ? -1 : syscall(HOST_CALLS.fcntl, fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return;
    this.#byId.set(id!, copy);
    if (this.#byId.size >= this.#nextLook) this.#dropUnused(id!);
  }

  /** A descriptor of ours for a program's eventfd, the caller's to close; or a negative errno. */
  find(pid: number, fd: number): number {
    const id = eventfdId(pid, fd);
    const copy = id === undefined ? undefined : this.#byId.get(id);
    return copy === undefined ? -ERRNO.EPERM : syscall(HOST_CALLS.fcntl, copy, F_DUPFD_CLOEXEC, 3);
  }

  close(): void {
    for (const copy of this.#byId.values()) close(copy);
    this.#byId.clear();
  }

  /** @param newest whose program does not have it yet */
  #dropUnused(newest: string): void {
    const used = new Set([newest]);
    for (const pid of this.#pids())
      for (const fd of descriptorsOf(pid)) {
        const id = eventfdId(pid, fd);
        if (id !== undefined) used.add(id);
      }
    for (const [id, copy] of this.#byId) {
      if (used.has(id)) continue;
      close(copy);
      this.#byId.delete(id);
    }
    this.#nextLook = Math.max(FIRST_LOOK, 2 * this.#byId.size);
  }
}
