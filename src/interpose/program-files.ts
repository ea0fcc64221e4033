import fs from "node:fs";
import { KernelError } from "../kernel/errors.ts";
import { type EventSignal, type FileDescription, type FileMemory, ForeignFile } from "../kernel/file-description.ts";
import type { FileTable } from "../kernel/task.ts";
import { ERRNO, type ErrnoName, errnoName } from "../uapi/errno.ts";
import { refuseShortage } from "./descriptor-shortage.ts";
import { type EventCopies, eventfdId } from "./event-copies.ts";
import type { EventWatches } from "./event-watches.ts";
import { HeldFileMemory } from "./file-memory.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { isMarked } from "./injected-file.ts";
import type { InjectedFiles } from "./injected-files.ts";
import type { Installs } from "./installs.ts";
import { close, syscall } from "./libc.ts";
import { O_CLOEXEC, O_RDWR } from "./linux.ts";
import { isPathOnly, statThreadDescriptor } from "./path-stat.ts";
import { descriptorsOf } from "./proc-file.ts";
import type { ProcessTask } from "./process-task.ts";

/** The descriptors of the thread whose call is being handled. */
export class ProgramFiles implements FileTable {
  readonly #files: InjectedFiles;
  readonly #installs: Installs;
  readonly #watches: EventWatches;
  #task: ProcessTask | undefined;

  readonly #events: EventCopies | undefined;

  /** @param events the program's eventfds, where they cannot be fetched */
  constructor(files: InjectedFiles, installs: Installs, watches: EventWatches, events?: EventCopies) {
    this.#events = events;
    this.#files = files;
    this.#watches = watches;
    this.#installs = installs;
  }

  use(task: ProcessTask): void {
    this.#task = task;
  }

  get(fd: number): FileDescription | undefined {
    const task = this.#task;
    if (fd < 0 || task === undefined || statThreadDescriptor(task.tid, fd) < 0) return undefined;
    const ours = this.#files.findLastStat();
    // fget() does not see what was opened with O_PATH.
    if (isPathOnly(task.tid, fd)) return undefined;
    const isOpen = ours !== undefined && (!ours.isOpenedAgain || isMarked(task.process.pidfd, fd));
    return isOpen ? ours.description : new ProgramFile(task, fd, this.#watches, this.#events);
  }

  install(description: FileDescription, closeOnExec: boolean): number {
    const made = this.#files.create(description, undefined, O_RDWR);
    if (typeof made === "number") failInstall(made, description.label);
    const number = this.#installs.add(made, closeOnExec ? O_CLOEXEC : 0);
    return number < 0 ? failInstall(number, description.label) : number;
  }
}

/** Why a program got no descriptor. @param errno negative, as a system call returned it */
export function installError(errno: number, label: string): KernelError {
  // ENOENT: the caller was killed in the meantime, and nobody will hear the answer.
  const name = errno === -ERRNO.ENOENT ? "EINTR" : (errnoName(-errno) as ErrnoName);
  return new KernelError(name, `the program gets no descriptor for ${label}`);
}

export function failInstall(errno: number, label: string): never {
  throw installError(errno, label);
}

/** A file of the program that is not ours. */
class ProgramFile extends ForeignFile {
  readonly #tid: number;
  readonly #pidfd: () => number;
  readonly #fd: number;
  readonly #watches: EventWatches;
  readonly #events: EventCopies | undefined;

  constructor(task: ProcessTask, fd: number, watches: EventWatches, events: EventCopies | undefined) {
    super();
    this.#watches = watches;
    this.#events = events;
    this.#tid = task.tid;
    this.#pidfd = () => task.process.pidfd;
    this.#fd = fd;
  }

  override event(): EventSignal | undefined {
    try {
      if (fs.readlinkSync(`/proc/${this.#tid}/fd/${this.#fd}`) !== "anon_inode:[eventfd]") return undefined;
    } catch {
      return undefined;
    }
    const own = this.#events?.find(this.#tid, this.#fd);
    const fd = own ?? syscall(HOST_CALLS.pidfd_getfd, this.#pidfd(), this.#fd, 0);
    refuseShortage(fd);
    return fd < 0 ? undefined : new HeldEvent(fd, this.#watches);
  }

  override memory(): FileMemory | undefined {
    return HeldFileMemory.open(this.#pidfd(), this.#fd);
  }
}

class HeldEvent implements EventSignal {
  readonly #watches: EventWatches;
  #fd: number;

  constructor(fd: number, watches: EventWatches) {
    this.#fd = fd;
    this.#watches = watches;
  }

  signal(): void {
    if (this.#fd >= 0) this.#watches.raise(this.#fd);
  }

  isAbandoned(): boolean {
    const id = eventfdId(process.pid, this.#fd);
    if (id === undefined) return false;
    for (const pid of this.#watches.programs()) {
      if (descriptorsOf(pid).some((fd) => eventfdId(pid, fd) === id)) return false;
    }
    return true;
  }

  release(): void {
    if (this.#fd < 0) return;
    this.#watches.remove(this.#fd);
    close(this.#fd);
    this.#fd = -1;
  }

  watch(handler: () => void): () => void {
    const fd = this.#fd;
    if (fd < 0) return () => {};
    this.#watches.add(fd, handler);
    return () => {
      if (this.#fd === fd) this.#watches.remove(fd);
    };
  }
}
