import { ERRNO } from "../uapi/errno.ts";
import type { AsideJobs, CallAside, Job, Room } from "./aside/aside-jobs.ts";
import { belongsInWindow } from "./descriptor-window.ts";
import { HOST_CALLS } from "./host-calls.ts";
import type { InjectedFile } from "./injected-file.ts";
import type { InjectedFiles } from "./injected-files.ts";
import { close, syscall } from "./libc.ts";
import { F_DUPFD_CLOEXEC } from "./linux.ts";
import { type Listener, LOWEST } from "./listener.ts";
import { statThreadDescriptor } from "./path-stat.ts";
import type { ProcessTable } from "./process-table.ts";
import { WindowSearch } from "./window-search.ts";

/** A file that was made for a program, and our descriptor of it, which is closed when the program has its own. */
export interface Made {
  readonly file: InjectedFile;
  readonly fd: number;
}

/** The same, or a file that is the machine's. */
interface Given extends Pick<Made, "fd"> {
  readonly file?: InjectedFile;
}

/** A descriptor that the caller gets as soon as it runs. */
export interface PendingInstall {
  /** What the call in hand takes for its number meanwhile. */
  readonly promised: number;
  /** Returns its number, or a negative errno. */
  readonly job: Job<number>;
  /** The caller did not get it: the file is no more. */
  undo(): void;
}

/** Numbers to try one after the other, each with what came of it; returns what came of the last. */
type Attempts = Generator<number, number, number>;

/** Processes whose search of the window is remembered; of others it begins anew. */
const MAX_SEARCHES = 64;

/** Stands for that one until it is known; no descriptor has this number (fs.nr_open). */
const UNKNOWN = 0x7fff_0000;

/**
 * Descriptors that programs are given. The kernel has the caller itself take one, and lets us wait until it has done
 * so: until it gets a processor, which a program can put off (by a low priority, a control group). So we wait for a
 * moment only. Then a thread aside waits, and the call in hand goes on as if the descriptor were there; its answer is
 * given when it is.
 */
export class Installs {
  /** Of the call in hand. */
  pending: PendingInstall | undefined;
  readonly #listener: Listener;
  readonly #files: InjectedFiles;
  readonly #jobs: AsideJobs;
  readonly #processes: ProcessTable;
  readonly #searches = new Map<number, WindowSearch>();

  constructor(listener: Listener, files: InjectedFiles, jobs: AsideJobs, processes: ProcessTable) {
    this.#processes = processes;
    this.#listener = listener;
    this.#files = files;
    this.#jobs = jobs;
  }

  /** The pending one of the call in hand, which has none then. */
  take(): PendingInstall | undefined {
    const { pending } = this;
    this.pending = undefined;
    return pending;
  }

  /** Gives the caller a new descriptor. Its number, or a negative errno: the file is forgotten then. */
  add(made: Made, closeOnExec: number): number {
    const { tid } = this.#listener;
    const attempts = belongsInWindow(made.file.description) ? numbers(tid, this.#searchOf(tid)) : only(LOWEST);
    return this.#install(made, closeOnExec, attempts);
  }

  /** Replaces what is behind one of the caller's descriptors. As above. */
  replace(made: Made, closeOnExec: number, target: number): number {
    return this.#install(made, closeOnExec, only(target));
  }

  #searchOf(tid: number): WindowSearch {
    const pid = this.#processes.of(tid)?.pid ?? tid;
    const search = this.#searches.get(pid) ?? new WindowSearch();
    this.#searches.set(pid, search);
    for (const oldest of this.#searches.keys()) {
      if (this.#searches.size <= MAX_SEARCHES) break;
      this.#searches.delete(oldest);
    }
    return search;
  }

  /** Gives the caller a descriptor of a file of the machine's; ours is closed. Its number, or a negative errno. */
  give(fd: number, closeOnExec: number): number {
    const result = this.#attempt({ fd }, closeOnExec, only(LOWEST));
    close(fd);
    return result;
  }

  #install(made: Made, closeOnExec: number, attempts: Attempts): number {
    const result = this.#attempt(made, closeOnExec, attempts);
    if (result < 0) this.#files.forget(made.file);
    close(made.fd);
    return result;
  }

  #attempt(made: Given, closeOnExec: number, attempts: Attempts): number {
    for (let step = attempts.next(0); ; ) {
      if (step.done) return step.value;
      const result = this.#listener.addDescriptor(made.fd, step.value, closeOnExec);
      if (result === -ERRNO.EINTR) return this.#goOnAside(made, closeOnExec, { target: step.value, attempts });
      step = attempts.next(result);
    }
  }

  #goOnAside(
    { file, fd }: Given,
    closeOnExec: number,
    { target, attempts }: { target: number; attempts: Attempts },
  ): number {
    const listener = this.#listener;
    const steps = function* (room: Room): Generator<CallAside, number, number> {
      // ours is closed by the time that this is done
      const own = syscall(HOST_CALLS.fcntl, fd, F_DUPFD_CLOEXEC, 3);
      const add = listener.addSteps(own, closeOnExec);
      try {
        for (let step: IteratorResult<number, number> = { done: false, value: target }; ; ) {
          if (step.done) return step.value;
          const result: number = yield add(room, step.value);
          if (result !== -ERRNO.EINTR) step = attempts.next(result);
        }
      } finally {
        if (own >= 0) close(own);
      }
    };
    const job = this.#jobs.run(listener.tid, steps, 0);
    if (job === undefined) return -ERRNO.ENFILE;
    if (job.isDone) return job.value;
    const promised = target === LOWEST ? UNKNOWN : target;
    const undo = () => {
      if (file === undefined) return;
      this.#files.forget(file);
      file.description.release();
    };
    this.pending = { promised, job, undo };
    return promised;
  }
}

/** For files that have numbers of their own (descriptor-window.ts) those first, and then the lowest one. */
function* numbers(tid: number, search: WindowSearch): Attempts {
  for (const number of search.numbers()) {
    if (statThreadDescriptor(tid, number) !== -ERRNO.ENOENT) continue;
    search.found();
    const added = yield number;
    if (added === number || added === -ERRNO.ENOENT) return added;
    // EBUSY: another thread is just about to use it. EBADF: RLIMIT_NOFILE is lower.
    if (added !== -ERRNO.EBUSY) break;
  }
  return yield LOWEST;
}

function* only(target: number): Attempts {
  return yield target;
}
