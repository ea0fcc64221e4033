import { readdirSync, readFileSync } from "node:fs";
import { setWatchpoints, takeHits } from "./debug-registers.ts";
import { type MappedDoorbell, mappedDoorbells } from "./mapped-doorbells.ts";
import type { DeviceMapping, ToServer, ToTracer } from "./protocol.ts";
import * as ptrace from "./ptrace.ts";

const SIGTRAP = 5;
/** SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU: what an event-stop reports when it is a group-stop. */
const STOPS: readonly number[] = [19, 20, 21, 22];
/**
 * How long a thread that has made a mapping waits for the others to stop, in milliseconds. They do at once, but for one
 * that waits in the kernel for a vfork()ed child, and that one stops before it sees the mapping.
 */
const PATIENCE_MS = 50;
/**
 * How long what is known of a process' mappings is believed, in milliseconds. A hit of another variable there rings
 * once for nothing.
 */
const LOCATE_MS = 20;

interface TracedProcess {
  readonly pid: number;
  /** By inode: files of ours that it has mapped. */
  readonly files: Map<number, DeviceMapping>;
  watchpoints: readonly MappedDoorbell[];
  /** When they were looked for, in milliseconds. */
  located: number;
  /** Counts changes of `watchpoints`. */
  version: number;
  readonly threads: Map<number, TracedThread>;
  /** A mapping is being made: threads that stop wait until all have. */
  gathering: boolean;
  /** Ends that. */
  timer: NodeJS.Timeout | undefined;
  /** Let go of its threads when they stop. */
  isForgotten: boolean;
}

interface TracedThread {
  readonly tid: number;
  readonly process: TracedProcess;
  /** Of the process' watchpoints: what the thread's debug registers hold. */
  version: number;
  /** It has stopped: how it is to go on. */
  stopped: GoOn | undefined;
  /** It has stopped at a doorbell, and the model has not looked yet. */
  ringing: boolean;
  /** It is in the mmap() that it was armed for. */
  mapping: boolean;
}

/** Leaves a stopped thread in its group-stop, or lets it run and take a signal (0: none). */
type GoOn = "listen" | number;

/**
 * Stops threads when they write to a doorbell, until the model has looked. Every thread that is seized is interrupted
 * as well, so that it takes over the watchpoints before it executes anything that knows of the mapping; new threads and
 * processes begin stopped.
 */
export class Tracer {
  readonly #say: (message: ToServer) => void;
  readonly #processes = new Map<number, TracedProcess>();
  readonly #threads = new Map<number, TracedThread>();
  /** New threads that stopped before whoever made them said so. */
  readonly #unclaimed = new Set<number>();
  /** New threads that have not stopped yet, and the process of whoever made them. */
  readonly #expected = new Map<number, TracedProcess>();

  constructor(say: (message: ToServer) => void) {
    this.#say = say;
  }

  /** Whether anything is traced. */
  get busy(): boolean {
    return this.#threads.size > 0 || this.#expected.size > 0 || this.#unclaimed.size > 0;
  }

  hear(message: ToTracer): void {
    if (message.type === "arm") {
      this.#say({ type: "armed", traced: this.#arm(message.pid, message.tid, message.mapping) });
      return;
    }
    if (message.type === "forget") {
      this.#forgetProcess(message.pid);
      return;
    }
    const thread = this.#threads.get(message.tid);
    if (thread === undefined) return;
    thread.ringing = false;
    this.#settle(thread, 0);
  }

  change(change: ptrace.Change): void {
    const { tid } = change;
    if (change.type === "gone") {
      this.#forget(tid);
      return;
    }
    const thread = this.#threads.get(tid) ?? this.#expectedThread(tid);
    if (thread === undefined) {
      this.#unclaimed.add(tid);
      return;
    }
    if (thread.process.isForgotten) {
      this.release(change);
      return;
    }
    const { event, signal } = change;
    const hits = event === 0 && signal === SIGTRAP ? takeHits(tid) : [];
    if (hits.length > 0) {
      this.#hit(thread, hits);
      return;
    }
    switch (event) {
      case 0:
        this.#settle(thread, signal);
        break;
      case ptrace.PTRACE_EVENT_FORK:
      case ptrace.PTRACE_EVENT_VFORK:
      case ptrace.PTRACE_EVENT_CLONE:
        this.#claim(ptrace.newThread(tid), thread.process);
        this.#settle(thread, 0);
        break;
      case ptrace.PTRACE_EVENT_EXEC:
        // Other memory, without a mapping, and empty debug registers. All other threads are gone.
        for (const each of [...thread.process.threads.keys()]) this.#forget(each);
        ptrace.detach(tid, 0);
        break;
      case ptrace.PTRACE_EVENT_EXIT:
        // The parent does not see a traced zombie before its tracer has seen it: it dies untraced.
        this.#forget(tid);
        ptrace.detach(tid, 0);
        break;
      default:
        this.#settle(thread, event === ptrace.PTRACE_EVENT_STOP && STOPS.includes(signal) ? "listen" : 0);
    }
  }

  #hit(thread: TracedThread, slots: readonly number[]): void {
    const { process, tid } = thread;
    const hit = slots.map((slot) => process.watchpoints[slot]).find((each) => each !== undefined);
    // The program may have put something else at that address.
    if (performance.now() - process.located > LOCATE_MS) this.#locate(process);
    const isThere = process.watchpoints.some((each) => hit && sameDoorbell(each, hit));
    if (!hit || !isThere) {
      this.#settle(thread, 0);
      return;
    }
    thread.ringing = true;
    this.#say({ type: "hit", tid, inode: hit.inode, offset: hit.offset });
  }

  /** Lets go of a process' threads as they stop. */
  #forgetProcess(pid: number): void {
    const process = this.#processes.get(pid);
    if (process === undefined) return;
    process.isForgotten = true;
    this.#processes.delete(pid);
    for (const { tid, stopped, ringing } of [...process.threads.values()]) {
      if (stopped === undefined && !ringing) ptrace.interrupt(tid);
      else this.#letGo(tid, stopped === "listen" ? 0 : (stopped ?? 0));
    }
  }

  /** Interrupts everything, so that release() can let go of it. */
  interruptAll(): void {
    for (const tid of this.#threads.keys()) ptrace.interrupt(tid);
    for (const { tid, stopped, ringing } of this.#threads.values()) {
      if (stopped !== undefined || ringing) this.#letGo(tid, stopped === "listen" ? 0 : (stopped ?? 0));
    }
    for (const tid of this.#unclaimed) this.#letGo(tid, 0);
  }

  /** In place of change(), after interruptAll(): lets go of a thread that has stopped. */
  release(change: ptrace.Change): void {
    const { tid } = change;
    if (change.type === "gone") {
      this.#forget(tid);
      return;
    }
    const { event, signal } = change;
    const thread = this.#threads.get(tid);
    const makes = [ptrace.PTRACE_EVENT_FORK, ptrace.PTRACE_EVENT_VFORK, ptrace.PTRACE_EVENT_CLONE].includes(event);
    // The new thread stops by itself and comes here.
    if (thread && makes) this.#expected.set(ptrace.newThread(tid), thread.process);
    this.#letGo(tid, event === 0 && !(signal === SIGTRAP && takeHits(tid).length > 0) ? signal : 0);
  }

  #letGo(tid: number, signal: number): void {
    setWatchpoints(tid, []);
    ptrace.detach(tid, signal);
    this.#expected.delete(tid);
    this.#forget(tid);
  }

  #arm(pid: number, tid: number, mapping: DeviceMapping): boolean {
    const known = this.#processes.get(pid);
    const process = known ?? this.#newProcess(pid);
    // A thread that is made meanwhile is either in the list then, or made by a thread that is traced already.
    for (let found = true; found; ) {
      found = false;
      for (const each of threadsOf(pid)) {
        if (process.threads.has(each) || ptrace.seize(each) < 0) continue;
        this.#newThread(each, process);
        found = true;
      }
    }
    if (!process.threads.has(tid)) {
      // Traced by somebody else, or refused: nothing of it is kept.
      if (process.threads.size === 0) this.#processes.delete(pid);
      return false;
    }
    process.files.set(mapping.inode, mapping);
    process.gathering = true;
    process.threads.get(tid)!.mapping = true;
    for (const each of process.threads.values()) if (each.stopped === undefined) ptrace.interrupt(each.tid);
    return true;
  }

  /** A thread has stopped: it goes on as soon as it may. */
  #settle(thread: TracedThread, goOn: GoOn): void {
    const { process } = thread;
    thread.stopped = goOn;
    if (thread.mapping) {
      thread.mapping = false;
      this.#locate(process);
      process.timer ??= setTimeout(() => {
        process.timer = undefined;
        this.#proceed(process, false);
      }, PATIENCE_MS);
    }
    this.#proceed(process, true);
  }

  /** Lets the stopped threads of a process go on, if they may: with the watchpoints that it has now. */
  #proceed(process: TracedProcess, patient: boolean): void {
    const threads = [...process.threads.values()];
    if (process.gathering) {
      if (threads.some(({ mapping }) => mapping)) return;
      const isSafe = ({ stopped, ringing, version }: TracedThread) =>
        stopped !== undefined || ringing || version === process.version;
      if (patient && !threads.every(isSafe)) return;
      process.gathering = false;
      clearTimeout(process.timer);
      process.timer = undefined;
    }
    for (const thread of threads) {
      const { tid, stopped } = thread;
      if (stopped === undefined) continue;
      thread.stopped = undefined;
      if (thread.version !== process.version) setWatchpoints(tid, process.watchpoints);
      thread.version = process.version;
      if (stopped === "listen") ptrace.listen(tid);
      else ptrace.resume(tid, stopped);
    }
  }

  /** Finds the doorbells in a process' memory as it is now. */
  #locate(process: TracedProcess): void {
    process.located = performance.now();
    const found = mappedDoorbells(readText(`/proc/${process.pid}/maps`), process.files.values());
    const known = process.watchpoints;
    if (found.length === known.length && found.every((each, i) => sameDoorbell(each, known[i]!))) return;
    process.watchpoints = found;
    process.version++;
  }

  #claim(tid: number, maker: TracedProcess): void {
    if (tid === 0) return;
    this.#expected.set(tid, maker);
    if (!this.#unclaimed.delete(tid)) return;
    const thread = this.#expectedThread(tid);
    if (thread) this.#settle(thread, 0);
  }

  #expectedThread(tid: number): TracedThread | undefined {
    const maker = this.#expected.get(tid);
    if (maker === undefined) return undefined;
    this.#expected.delete(tid);
    const pid = Number(/^Tgid:\s+(\d+)/m.exec(readText(`/proc/${tid}/status`))?.[1] ?? maker.pid);
    return this.#newThread(tid, pid === maker.pid ? maker : (this.#processes.get(pid) ?? this.#newProcess(pid, maker)));
  }

  /** @param parent whose mappings it was forked with */
  #newProcess(pid: number, parent?: TracedProcess): TracedProcess {
    const process: TracedProcess = {
      pid,
      files: new Map(parent?.files),
      watchpoints: parent?.watchpoints ?? [],
      located: 0,
      version: parent ? 1 : 0,
      threads: new Map(),
      gathering: false,
      timer: undefined,
      isForgotten: false,
    };
    this.#processes.set(pid, process);
    return process;
  }

  #newThread(tid: number, process: TracedProcess): TracedThread {
    const thread: TracedThread = { tid, process, version: 0, stopped: undefined, ringing: false, mapping: false };
    process.threads.set(tid, thread);
    this.#threads.set(tid, thread);
    return thread;
  }

  #forget(tid: number): void {
    this.#unclaimed.delete(tid);
    this.#expected.delete(tid);
    const thread = this.#threads.get(tid);
    if (thread === undefined) return;
    const { process } = thread;
    this.#threads.delete(tid);
    process.threads.delete(tid);
    // Others may have waited for it.
    if (process.threads.size > 0) {
      this.#proceed(process, true);
      return;
    }
    clearTimeout(process.timer);
    if (this.#processes.get(process.pid) === process) this.#processes.delete(process.pid);
  }
}

function sameDoorbell(one: MappedDoorbell, other: MappedDoorbell): boolean {
  return one.address === other.address && one.inode === other.inode && one.offset === other.offset;
}

function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return [];
  }
}

/** A file of /proc; empty when it is gone. */
function readText(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
