import fs from "node:fs";
import type { KernelError } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import type { HostKernel } from "../kernel/host-kernel.ts";
import { AsideJobs } from "./aside/aside-jobs.ts";
import { CallContext } from "./call-context.ts";
import { CallLimit } from "./call-limit.ts";
import { CallerMemory } from "./caller-memory.ts";
import { Credentials } from "./credentials.ts";
import { dropSpares, keepSpares, shortageText, takeShortage } from "./descriptor-shortage.ts";
import { dispatch, resumeLongCall } from "./dispatch.ts";
import { Doorbells } from "./doorbells/doorbells.ts";
import { Epoll } from "./epoll.ts";
import { EventWatches } from "./event-watches.ts";
import type { FuseServer } from "./fuse/fuse-server.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { InjectedFiles } from "./injected-files.ts";
import { Installs } from "./installs.ts";
import { close, syscall } from "./libc.ts";
import { AT_FDCWD, EPOLLHUP, EPOLLIN, O_CLOEXEC, O_DIRECTORY, O_NONBLOCK, O_PATH, PR_SET_TIMERSLACK } from "./linux.ts";
import { Listener } from "./listener.ts";
import { LongCalls } from "./long-calls.ts";
import { MappingWatch } from "./mapping-watch.ts";
import { NodeFiles } from "./node-files.ts";
import type { Observer } from "./observer.ts";
import { ParkedCalls } from "./parked-calls.ts";
import { PathResolver } from "./path-resolver.ts";
import { openPath } from "./path-stat.ts";
import { readProc } from "./proc-file.ts";
import { ProcessTable } from "./process-table.ts";
import { ProcessTask } from "./process-task.ts";
import { ProgramFiles } from "./program-files.ts";
import { SlowLooks } from "./slow-looks.ts";
import { Turns } from "./turns.ts";

export interface ServerOptions {
  /** The seccomp listener; closed at the end. */
  readonly listener: number;
  readonly kernel: HostKernel;
  /**
   * The process that will be the program: its tree is the program's, its user namespace the one capabilities count in.
   */
  readonly launcher: number;
  /** The program runs in a user namespace made for it. */
  readonly userNamespace: boolean;
  readonly observer?: Observer | undefined;
  /** Serves the host's files to the program; closed at the end. */
  readonly fuse?: FuseServer | undefined;
}

/**
 * A dying task lets go of its filter before it closes its files. So the listener may hang up while files are open
 * still; those of processes that we know are waited for, those of others for this long.
 */
const LAST_CLOSES_MS = 500;
const TICK_US = 20_000;
/**
 * A program that has just made a call soon makes another: so long its next one is waited for in this thread, where that
 * is cheapest.
 */
const BLOCK_US = 10_000;
/** What a call may take at once, in milliseconds; what takes longer goes on between other calls. */
const MOMENT_MS = 1;
/** How long, in microseconds, everybody waits for a program in a call that may wait for it. */
const PATIENCE_US = 500;
/** While calls keep coming, the event loop (signals, the end of the program) gets a turn this often. */
const TURN_MS = 10;

/**
 * Serves programs until the last task under the filter is gone, or until stop(). Every call is handled to its end
 * before the next is looked at, so the model needs no locks.
 */
export class Server {
  readonly #kernel: HostKernel;
  readonly #observer: Observer | undefined;
  readonly #epoll = new Epoll();
  readonly #stop = syscall(HOST_CALLS.eventfd2, 0, O_CLOEXEC | O_NONBLOCK);
  /** Devices go on with something. */
  readonly #resumed = syscall(HOST_CALLS.eventfd2, 0, O_CLOEXEC | O_NONBLOCK);
  readonly #root: number;
  readonly #files: InjectedFiles;
  readonly #processes: ProcessTable;
  readonly #watches: EventWatches;
  readonly #mappings: MappingWatch;
  readonly #doorbells: Doorbells;
  readonly #jobs: AsideJobs;
  readonly #limit: CallLimit;
  readonly #listener: Listener;
  readonly #context: CallContext;
  readonly #turns: Turns;
  readonly #fuse: FuseServer | undefined;
  readonly #watched = new Map<number, () => void>();
  #over = false;
  #toldShortage = false;
  /** When the last task let go of the filter; 0 while there is one. */
  #hungUp = 0;

  constructor({ listener, kernel, launcher, userNamespace, observer, fuse }: ServerOptions) {
    this.#kernel = kernel;
    this.#observer = observer;
    const root = openPath(AT_FDCWD, `/proc/${launcher}/root`, O_PATH | O_DIRECTORY | O_CLOEXEC);
    this.#root = root;
    const files = new InjectedFiles((description) => {
      release(description, observer);
      guarded(() => fuse?.retry(), observer);
    });
    this.#files = files;
    const isDeviceMemory = (inode: number, major: number, minor: number) =>
      files.find(inode, major, minor) !== undefined;
    this.#limit = new CallLimit(PATIENCE_US);
    this.#listener = new Listener(listener, this.#limit);
    this.#jobs = new AsideJobs();
    const looks = new SlowLooks(
      this.#jobs,
      (message) => observer?.noticed?.(message),
      () => fuse?.hasOpenFiles === true,
    );
    const caller = new CallerMemory(this.#listener, looks);
    this.#processes = new ProcessTable({ caller, looks, isDeviceMemory }, ({ pidfd }) => this.#epoll.add(pidfd));
    this.#watches = new EventWatches(this.#epoll, this.#limit, () => this.#processes.pids());
    this.#mappings = new MappingWatch(files);
    const ring = (inode: number, offset: number) => guarded(() => this.#mappings.ring(inode, offset), observer);
    this.#doorbells = new Doorbells(this.#epoll, ring, (message) => observer?.noticed?.(message));
    const nodes = new NodeFiles(root, kernel.deviceNodes());
    const credentials = new Credentials(userNamespace, launcher);
    const parked = new ParkedCalls(this.#listener);
    const installs = new Installs(this.#listener, files, this.#jobs);
    const programFiles = new ProgramFiles(files, installs, this.#watches);
    const longCalls = new LongCalls(MOMENT_MS);
    this.#context = new CallContext({
      listener: this.#listener,
      kernel,
      processes: this.#processes,
      task: new ProcessTask(this.#processes, credentials, programFiles, caller),
      files,
      doorbells: this.#doorbells,
      nodes,
      resolver: new PathResolver({ nodes, files, credentials, looks, processes: this.#processes }),
      credentials,
      caller,
      looks,
      parked,
      longCalls,
      installs,
    });
    parked.again = (taken) => {
      this.#catchUp(true);
      dispatch(this.#context, observer, taken);
    };
    const { deviceWork } = kernel;
    if (deviceWork) {
      deviceWork.inSlices = true;
      // the thread may be waiting for descriptors just then
      deviceWork.resumed = () => {
        fs.writeSync(this.#resumed, new BigUint64Array([1n]));
      };
      deviceWork.watcher = {
        add: (fd, action) =>
          this.watch(fd, () => {
            guarded(action, observer);
            return false;
          }),
        remove: (fd) => this.#unwatch(fd),
      };
    }
    const callWork = {
      get isPending() {
        return longCalls.isPending;
      },
      run: (milliseconds: number) => resumeLongCall(this.#context, observer, milliseconds),
    };
    this.#turns = new Turns(deviceWork ? [callWork, deviceWork] : [callWork]);
    this.#fuse = fuse;
    if (fuse) {
      this.#epoll.add(fuse.fd);
      fuse.hooks = {
        acted: () => nodes.update(kernel.deviceNodes()),
        failed: ({ path, pid }, error) => this.#tellFailed(path, pid, error),
      };
    }
    for (const fd of [listener, files.inotify, this.#stop, this.#resumed, this.#jobs.event]) this.#epoll.add(fd);
    this.#listener.wakeOnSameCpu();
    keepSpares();
  }

  /** Has `action` called whenever a descriptor is readable, until it returns true. What it throws ends serving. */
  watch(fd: number, action: () => boolean): void {
    this.#epoll.add(fd);
    this.#watched.set(fd, () => {
      if (action()) this.#unwatch(fd);
    });
  }

  #unwatch(fd: number): void {
    this.#epoll.remove(fd);
    this.#watched.delete(fd);
  }

  /** Ends serving; calls of programs that still run answer ENOSYS. */
  stop(): void {
    if (!this.#over) fs.writeSync(this.#stop, new BigUint64Array([1n]));
  }

  /** Serves to the end, between which the event loop runs. Once. */
  async serve(): Promise<void> {
    try {
      // short waits are short: a thread's timers are 50 microseconds late otherwise
      syscall(HOST_CALLS.prctl, PR_SET_TIMERSLACK, 1000);
      let turn = performance.now();
      while (!this.#over) {
        const tick = this.#tick();
        let count = this.#epoll.wait(tick < 0 ? BLOCK_US : Math.min(tick, BLOCK_US));
        if (count < 1 && (tick < 0 || tick > BLOCK_US)) {
          count = await this.#epoll.waitAside(tick);
          turn = performance.now();
        } else if (performance.now() - turn > TURN_MS) {
          await new Promise(setImmediate);
          turn = performance.now();
        }
        this.#look(count);
      }
    } finally {
      // as it was: children of this thread have what it has
      syscall(HOST_CALLS.prctl, PR_SET_TIMERSLACK, 0);
      this.#close();
    }
  }

  /** Microseconds until there is something to look at that no descriptor announces; -1 when there is nothing. */
  #tick(): number {
    const patience = this.#turns.patience();
    if (patience >= 0) return patience;
    const interval = this.#mappings.interval();
    if (interval > 0) return interval;
    return this.#hungUp > 0 || this.#files.undecided ? TICK_US : -1;
  }

  /** Handles what the first `count` descriptors of the last wait announce. */
  #look(count: number): void {
    const epoll = this.#epoll;
    let notified = 0;
    let rung = false;
    let taken = false;
    let asked = false;
    let closed = epoll.isFull(count);
    for (let i = 0; i < count; i++) {
      const fd = epoll.descriptor(i);
      if (fd === this.#listener.fd) notified = epoll.events(i);
      else if (fd === this.#stop) this.#over = true;
      else if (fd === this.#resumed) fs.readSync(fd, new BigUint64Array(1));
      else if (fd === this.#doorbells.fd) rung = true;
      else if (fd === this.#jobs.event) taken = true;
      else if (fd === this.#fuse?.fd) asked = true;
      else if (fd === this.#files.inotify) closed = true;
      else this.#hear(fd);
    }
    if (rung) this.#doorbells.hear();
    if (taken) {
      // what a job held for a program that has ended is closed with it, and nobody has announced that
      this.#jobs.hear();
      closed = true;
    }
    this.#doorbells.expire();
    const received = (notified & EPOLLIN) !== 0 && this.#listener.receive();
    // A close before the call was announced with it: unless the announcement was of another call, whose caller was
    // killed before it was taken.
    const isAnother = received && this.#listener.hasMissed;
    this.#catchUp(closed || isAnother || !received);
    if (received) {
      this.#context.on.parked.untilDeadHaveNothing((isLater) => {
        if (isLater) this.#catchUp(true);
        dispatch(this.#context, this.#observer);
      });
      this.#tellShortage();
    } else if ((notified & EPOLLHUP) !== 0) {
      epoll.remove(this.#listener.fd);
      this.#hungUp = performance.now();
    }
    if (asked) guarded(() => this.#serveFiles(), this.#observer);
    guarded(() => this.#turns.take(received), this.#observer);
    if (this.#hungUp === 0) return;
    if (this.#processes.size > 0) this.#hungUp = performance.now();
    if (this.#files.size === 0 || performance.now() - this.#hungUp > LAST_CLOSES_MS) this.#over = true;
  }

  #serveFiles(): void {
    const fuse = this.#fuse!;
    try {
      fuse.take();
    } finally {
      if (fuse.isOver) this.#epoll.remove(fuse.fd);
    }
  }

  #tellFailed(path: string, pid: number, error: KernelError): void {
    const program = readProc(pid, "comm")?.trim() ?? "a program";
    this.#observer?.noticed?.(`${program}[${pid}]: write ${path} = ${error.code}: ${error.reason}`);
  }

  /** Says so, once, when we had no descriptor for a program. */
  #tellShortage(): void {
    if (!takeShortage() || this.#toldShortage) return;
    this.#toldShortage = true;
    this.#observer?.broken?.(
      `${shortageText()}: programs get ENFILE where it needs one for them, until some are closed`,
      undefined,
    );
  }

  /** One of the descriptors that only now and then say something. */
  #hear(fd: number): void {
    const action = this.#watched.get(fd);
    if (action) action();
    else this.#processes.gone(fd);
  }

  /**
   * What the program did before a call, without a call that we see, must have had its effect when the call is handled.
   * @param closed files may have been closed
   */
  #catchUp(closed: boolean): void {
    guarded(() => {
      this.#files.drain(closed);
      this.#watches.check();
      this.#mappings.look();
    }, this.#observer);
  }

  #close(): void {
    this.#over = true;
    const { deviceWork } = this.#kernel;
    if (deviceWork) {
      deviceWork.inSlices = false;
      delete deviceWork.resumed;
      deviceWork.watcher = undefined;
    }
    this.#listener.close();
    this.#limit.close();
    this.#jobs.close();
    this.#doorbells.close();
    this.#fuse?.close();
    this.#files.releaseAll();
    this.#processes.clear();
    this.#files.close();
    this.#epoll.close();
    dropSpares();
    close(this.#root);
    close(this.#stop);
    close(this.#resumed);
  }
}

/** An error of the model outside of a call is reported, and ends nothing. */
function guarded<T>(action: () => T, observer: Observer | undefined): T | undefined {
  try {
    return action();
  } catch (error) {
    observer?.broken?.(`internal error outside of a call: ${String(error)}`, error);
    return undefined;
  }
}

function release(description: FileDescription, observer: Observer | undefined): void {
  try {
    description.release();
  } catch (error) {
    observer?.broken?.(`internal error in the release of ${description.label}: ${String(error)}`, error);
  }
}
