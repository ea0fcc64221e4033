import fs from "node:fs";
import type { KernelError } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import type { HostKernel } from "../kernel/host-kernel.ts";
import { monotonic } from "../kernel/monotonic.ts";
import { AsideJobs } from "./aside/aside-jobs.ts";
import { Beat } from "./beat.ts";
import { CallLimit } from "./call-limit.ts";
import { dropSpares, keepSpares, shortageText, takeShortage } from "./descriptor-shortage.ts";
import { Doorbells } from "./doorbells/doorbells.ts";
import { Epoll } from "./epoll.ts";
import { EventWatches } from "./event-watches.ts";
import type { FuseServer } from "./fuse/fuse-server.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { InjectedFiles } from "./injected-files.ts";
import { KeptInfos } from "./kept-infos.ts";
import { close, syscall } from "./libc.ts";
import { EPOLLHUP, EPOLLIN, O_CLOEXEC, O_NONBLOCK, PR_SET_TIMERSLACK } from "./linux.ts";
import { LongCallers } from "./long-calls.ts";
import { MappingWatch } from "./mapping-watch.ts";
import type { Observer } from "./observer.ts";
import { type ProgramOptions, ServedProgram, type SharedParts } from "./served-program.ts";
import { Turns } from "./turns.ts";

export interface ServerOptions {
  readonly kernel: HostKernel;
  /** Hears what is about no call of a program. */
  readonly observer?: Observer | undefined;
  /** Serves on when there is no program left. */
  readonly stays?: boolean;
}

const TICK_US = 20_000;
/** So long is waited in this thread for what no descriptor announces. */
const BLOCK_US = 10_000;
/** How long, in microseconds, everybody waits for a program in a call that may wait for it. */
const PATIENCE_US = 500;
/**
 * A program that has just made a call soon makes another: it is waited for in this thread, where that is cheapest, for
 * as long as something comes in this time. And so often the event loop (signals, the end of the program) gets a turn.
 */
const TURN_MS = 10;

/**
 * Serves programs until the last task under their filters is gone, or until stop(). Every call is handled to its end
 * before the next is looked at, so the model needs no locks.
 */
export class Server {
  readonly #kernel: HostKernel;
  readonly #observer: Observer | undefined;
  readonly #stays: boolean;
  readonly #epoll = new Epoll();
  readonly #stop = syscall(HOST_CALLS.eventfd2, 0, O_CLOEXEC | O_NONBLOCK);
  /** Devices go on with something. */
  readonly #resumed = syscall(HOST_CALLS.eventfd2, 0, O_CLOEXEC | O_NONBLOCK);
  readonly #files: InjectedFiles;
  readonly #infos = new KeptInfos();
  readonly #watches: EventWatches;
  readonly #mappings: MappingWatch;
  readonly #doorbells: Doorbells;
  readonly #jobs = new AsideJobs();
  readonly #limit = new CallLimit(PATIENCE_US);
  readonly #turns: Turns;
  readonly #shared: SharedParts;
  /** By the descriptor of the listener. */
  readonly #programs = new Map<number, ServedProgram>();
  /** Those whose last task is gone. */
  readonly #hungUp = new Set<ServedProgram>();
  /** Those that have calls put aside. */
  readonly #long = new LongCallers<ServedProgram>((program, milliseconds) => {
    this.#with(program, () => program.resume(milliseconds));
  });
  /** By the descriptor that each is served by. */
  readonly #fuses = new Map<number, { readonly fuse: FuseServer; tellFailed: TellFailed }>();
  readonly #watched = new Map<number, () => void>();
  /** Called when a file was released. */
  onRelease: (() => void) | undefined;
  #inHand: ServedProgram | undefined;
  /** Whose call was handled last, and alone: its answer may be held. */
  #answered: ServedProgram | undefined;
  readonly #beat = new Beat(TURN_MS);
  #over = false;
  #toldShortage = false;

  constructor({ kernel, observer, stays = false }: ServerOptions) {
    this.#kernel = kernel;
    this.#observer = observer;
    this.#stays = stays;
    this.#files = new InjectedFiles(
      (description) => {
        release(description, observer);
        for (const { fuse } of this.#fuses.values()) guarded(() => fuse.retry(), observer);
        this.#doorbells.sweep();
        guarded(() => this.onRelease?.(), observer);
      },
      () => this.#pids(),
    );
    this.#watches = new EventWatches(this.#limit, () => this.#pids());
    this.#doorbells = new Doorbells(this.#epoll, this.#files, (message) => observer?.noticed?.(message));
    this.#mappings = new MappingWatch(this.#files, this.#doorbells);
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
        remove: (fd) => this.unwatch(fd),
      };
    }
    this.#turns = new Turns(deviceWork ? [this.#long, deviceWork] : [this.#long]);
    const own = [this.#stop, this.#resumed, this.#jobs.event, this.#beat.fd];
    for (const fd of [...own, this.#files.inotify, this.#files.streamEvent, this.#watches.event]) this.#epoll.add(fd);
    this.#shared = {
      epoll: this.#epoll,
      files: this.#files,
      infos: this.#infos,
      limit: this.#limit,
      jobs: this.#jobs,
      watches: this.#watches,
      doorbells: this.#doorbells,
      watchProcess: (pidfd) => this.#epoll.add(pidfd),
      hasLongCall: (program) => this.#long.add(program),
      catchUp: (closed) => this.#catchUp(closed),
    };
    keepSpares();
  }

  /** Serves a program from now on. */
  add(options: ProgramOptions): ServedProgram {
    const program = new ServedProgram(options, this.#kernel.deviceNodes(), this.#shared);
    this.#programs.set(options.listener, program);
    this.#epoll.add(options.listener);
    if (options.fuse) this.addFuse(options.fuse, (...failed) => program.tellFailed(...failed));
    return program;
  }

  /** Serves the host's files to whoever has them mounted. @param tellFailed hears of writes that fail */
  addFuse(fuse: FuseServer, tellFailed: TellFailed): void {
    const known = this.#fuses.get(fuse.fd);
    if (known) {
      known.tellFailed = tellFailed;
      return;
    }
    const served = { fuse, tellFailed };
    this.#fuses.set(fuse.fd, served);
    this.#epoll.add(fuse.fd);
    fuse.hooks = {
      acted: () => this.updateNodes(),
      failed: ({ path, pid }, error) => served.tellFailed(path, pid, error),
    };
  }

  /** Serves them no more. */
  removeFuse(fuse: FuseServer): void {
    if (!this.#fuses.delete(fuse.fd)) return;
    if (!fuse.isOver) this.#epoll.remove(fuse.fd);
    fuse.close();
  }

  /** The program whose call is being handled. */
  get inHand(): ServedProgram | undefined {
    return this.#inHand;
  }

  get programs(): Iterable<ServedProgram> {
    return this.#programs.values();
  }

  /** Nodes of the host have come or gone: so they do in all programs' trees. */
  updateNodes(): void {
    const nodes = this.#kernel.deviceNodes();
    for (const program of this.#programs.values()) guarded(() => program.updateNodes(nodes), this.#observer);
  }

  /** Takes no calls of a program for the time being: who makes one waits. */
  pause(program: ServedProgram): void {
    if (program.isPaused || program.isHungUp) return;
    program.isPaused = true;
    this.#epoll.remove(program.listener.fd);
  }

  resume(program: ServedProgram): void {
    if (!program.isPaused) return;
    program.isPaused = false;
    this.#epoll.add(program.listener.fd);
  }

  /** Serves a program no more: calls of processes of it that still run answer ENOSYS. */
  drop(program: ServedProgram): void {
    if (this.#programs.get(program.listener.fd) === program) this.#remove(program);
  }

  /** Ends calls that may wait for others. */
  get limit(): CallLimit {
    return this.#limit;
  }

  /** Has `action` called whenever a descriptor is readable, until it returns true. What it throws ends serving. */
  watch(fd: number, action: () => boolean): void {
    this.#epoll.add(fd);
    this.#watched.set(fd, () => {
      if (action()) this.unwatch(fd);
    });
  }

  unwatch(fd: number): void {
    if (this.#watched.delete(fd)) this.#epoll.remove(fd);
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
      let turn = monotonic();
      while (!this.#over) {
        const beat = this.#beat;
        if (beat.isOn ? beat.isDue : monotonic() - turn > TURN_MS) {
          this.#answered?.listener.sendHeld();
          await new Promise(setImmediate);
          turn = monotonic();
          beat.isDue = false;
        }
        const tick = this.#tick();
        const timeout = tick >= 0 ? Math.min(tick, BLOCK_US) : beat.isOn ? -1 : 0;
        let count = this.#answered === undefined ? this.#epoll.wait(timeout) : this.#answered.next.wait(timeout);
        if (count < 1 && (tick < 0 || tick > BLOCK_US)) {
          count = await this.#epoll.waitAside(tick);
          turn = monotonic();
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
    if (interval >= 0) return interval;
    return this.#files.undecided || this.#hungUp.size > 0 ? TICK_US : -1;
  }

  /** Handles what the first `count` descriptors of the last wait announce. */
  #look(count: number): void {
    const epoll = this.#epoll;
    // the usual case: a call of a program, and nothing else
    const only = count === 1 ? this.#programs.get(epoll.descriptor(0)) : undefined;
    this.#answered = only;
    if (count > 1 || (count === 1 && epoll.descriptor(0) !== this.#beat.fd)) this.#beat.use();
    const received = only ? this.#receiveOnly(only) : this.#lookAtAll(count);
    if (this.#turns.isPending) this.#takeTurn(received);
    if (this.#hungUp.size > 0) for (const program of this.#hungUp) if (program.isOver()) this.#remove(program);
  }

  /** The same when it may be more than one, or no program. Returns whether there was a call. */
  #lookAtAll(count: number): boolean {
    const epoll = this.#epoll;
    const notified: [ServedProgram, number][] = [];
    const rung: number[] = [];
    let taken = false;
    let closed = epoll.isFull(count);
    const others: number[] = [];
    const asked: number[] = [];
    for (let i = 0; i < count; i++) {
      const fd = epoll.descriptor(i);
      const program = this.#programs.get(fd);
      if (program !== undefined) notified.push([program, epoll.events(i)]);
      else if (fd === this.#stop) this.#over = true;
      else if (fd === this.#resumed) fs.readSync(fd, new BigUint64Array(1));
      else if (this.#doorbells.has(fd)) rung.push(fd);
      else if (fd === this.#jobs.event) taken = true;
      else if (fd === this.#beat.fd) this.#beat.hear();
      else if (this.#fuses.has(fd)) asked.push(fd);
      else if (fd === this.#files.inotify || fd === this.#files.streamEvent) closed = true;
      else if (fd !== this.#watches.event) others.push(fd);
    }
    for (const fd of others) this.#hear(fd);
    for (const fd of rung) guarded(() => this.#mappings.hear(fd), this.#observer);
    if (taken) {
      // what a job held for a program that has ended is closed with it, and nobody has announced that
      this.#jobs.hear();
      closed = true;
    }
    let received = false;
    for (const [program, events] of notified) {
      // somebody else's call may have ended it, or put it off
      if (program.isPaused || !this.#programs.has(program.listener.fd)) continue;
      // what was closed while others were served was announced after the wait
      received = this.#receive(program, events, closed || received) || received;
    }
    if (notified.length === 0) this.#catchUp(true);
    for (const fd of asked) guarded(() => this.#serveFiles(fd), this.#observer);
    return received;
  }

  /** The same when nothing else is to be done: its answer may be sent with the next wait. */
  #receiveOnly(program: ServedProgram): boolean {
    const { listener, next } = program;
    if (program.isPaused) return false;
    listener.mayHold = next.mayHold;
    const received = this.#receive(program, this.#epoll.events(0), false, next.received);
    listener.mayHold = false;
    next.handled();
    return received;
  }

  /** Work that takes long goes on when it is its turn: no answer waits for it. */
  #takeTurn(received: boolean): void {
    this.#answered?.listener.sendHeld();
    try {
      // registers show what a device has done
      if (this.#turns.take(received)) this.#mappings.look();
    } catch (error) {
      tellBroken(error, this.#observer);
    }
  }

  /**
   * Takes the next call of a program and handles it. Returns whether there was one.
   * @param taken when somebody has tried to take it: whether it is there
   */
  #receive(program: ServedProgram, events: number, closed: boolean, taken?: boolean): boolean {
    const { listener } = program;
    const received = taken ?? ((events & EPOLLIN) !== 0 && listener.receive());
    // A close before the call was announced with it: unless the announcement was of another call, whose caller was
    // killed before it was taken.
    const isAnother = received && listener.hasMissed;
    this.#catchUp(closed || isAnother || !received);
    if (received) {
      this.#with(program, () => program.handle());
      this.#tellShortage(program);
    } else if ((events & EPOLLHUP) !== 0) {
      this.#epoll.remove(listener.fd);
      program.hangUp();
      this.#hungUp.add(program);
    }
    return received;
  }

  #with(program: ServedProgram, act: () => void): void {
    this.#inHand = program;
    try {
      act();
    } finally {
      this.#inHand = undefined;
    }
  }

  #serveFiles(fd: number): void {
    const served = this.#fuses.get(fd);
    if (served === undefined) return;
    try {
      served.fuse.take();
    } finally {
      if (served.fuse.isOver) this.#epoll.remove(fd);
    }
  }

  /** Says so, once, when we had no descriptor for a program. */
  #tellShortage({ observer }: ServedProgram): void {
    if (!takeShortage()) return;
    this.#infos.clear();
    if (this.#toldShortage) return;
    this.#toldShortage = true;
    observer?.broken?.(
      `${shortageText()}: programs get ENFILE where it needs one for them, until some are closed`,
      undefined,
    );
  }

  /** One of the descriptors that only now and then say something. */
  #hear(fd: number): void {
    const action = this.#watched.get(fd);
    if (action) action();
    else for (const { processes } of this.#programs.values()) processes.gone(fd);
  }

  *#pids(): Iterable<number> {
    for (const { processes } of this.#programs.values()) yield* processes.pids();
  }

  /**
   * What the program did before a call, without a call that we see, must have had its effect when the call is handled.
   * @param closed files may have been closed
   */
  #catchUp(closed: boolean): void {
    try {
      this.#files.drain(closed);
      this.#watches.check();
      this.#mappings.look();
    } catch (error) {
      tellBroken(error, this.#observer);
    }
  }

  /** Nothing of a program is left. */
  #remove(program: ServedProgram): void {
    this.#programs.delete(program.listener.fd);
    this.#hungUp.delete(program);
    this.#long.delete(program);
    if (!program.isHungUp && !program.isPaused) this.#epoll.remove(program.listener.fd);
    program.hangUpNow();
    if (program.fuse) this.removeFuse(program.fuse);
    program.close();
    program.ended?.();
    if (this.#programs.size === 0 && !this.#stays) this.#over = true;
  }

  #close(): void {
    this.#over = true;
    const { deviceWork } = this.#kernel;
    if (deviceWork) {
      deviceWork.inSlices = false;
      delete deviceWork.resumed;
      deviceWork.watcher = undefined;
    }
    for (const program of this.#programs.values()) program.hangUpNow();
    this.#limit.close();
    this.#jobs.close();
    this.#doorbells.close();
    for (const { fuse } of this.#fuses.values()) fuse.close();
    this.#files.releaseAll();
    for (const program of this.#programs.values()) program.close();
    this.#infos.clear();
    this.#files.close();
    this.#watches.close();
    this.#epoll.close();
    this.#beat.close();
    dropSpares();
    close(this.#stop);
    close(this.#resumed);
  }
}

type TellFailed = (path: string, pid: number, error: KernelError) => void;

/** An error of the model outside of a call is reported, and ends nothing. */
function guarded<T>(action: () => T, observer: Observer | undefined): T | undefined {
  try {
    return action();
  } catch (error) {
    tellBroken(error, observer);
    return undefined;
  }
}

function tellBroken(error: unknown, observer: Observer | undefined): void {
  observer?.broken?.(`internal error outside of a call: ${String(error)}`, error);
}

function release(description: FileDescription, observer: Observer | undefined): void {
  try {
    description.release();
  } catch (error) {
    observer?.broken?.(`internal error in the release of ${description.label}: ${String(error)}`, error);
  }
}
