import { PutOffError } from "../kernel/errors.ts";
import { noteShortage } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import { AT_FDCWD } from "./linux.ts";
import { isSameFile, mappingsOf } from "./memory-map.ts";
import { statPath } from "./path-stat.ts";
import { readProc } from "./proc-file.ts";
import { type MemoryTools, ProcessMemory } from "./process-memory.ts";
import type { FilePlace, SharedPlace } from "./shared-mappings.ts";

/** A process that uses our files. */
export class Process {
  readonly pid: number;
  /** Readable once the process is gone. */
  readonly pidfd: number;
  memory: ProcessMemory | undefined;
  /** Threads whose execve() was let through: it may have failed, or may still be going on. */
  readonly executing = new Set<number>();
  /** Its first thread is known to be in the user namespace that the program was started in. */
  isInNamespace = false;

  constructor(pid: number, pidfd: number) {
    this.pid = pid;
    this.pidfd = pidfd;
  }
}

/** Who wants to know which processes there are. */
interface ProcessHearer {
  /** One is new: its pidfd is to be watched. */
  come(process: Process): void;
  gone(process: Process): void;
}

/** Threads beside the leader that are remembered; then all of them are looked up again. */
const MAX_THREADS = 4096;
/** Processes that executed a program lately and made no call on a file of ours. */
const MAX_EARLY = 1024;

/** The processes that use our files, found by thread. */
export class ProcessTable {
  readonly #processes = new Map<number, Process>();
  readonly #threads = new Map<number, Process>();
  /** Threads whose execve() was let through, by processes that are not known. */
  readonly #early = new Map<number, Set<number>>();
  readonly #tools: MemoryTools;
  readonly #hears: ProcessHearer;

  constructor(tools: MemoryTools, hears: ProcessHearer) {
    this.#tools = tools;
    this.#hears = hears;
  }

  /** Processes that are not known to be gone. */
  get size(): number {
    return this.#processes.size;
  }

  pids(): Iterable<number> {
    return this.#processes.keys();
  }

  /** The process of a thread that waits for our answer; undefined when it was killed while waiting. */
  of(tid: number): Process | undefined {
    const leader = this.#processes.get(tid);
    if (leader !== undefined) return leader;
    const known = this.#threads.get(tid);
    // The number of a thread that has ended may belong to another process by now.
    if (known !== undefined && statPath(AT_FDCWD, `/proc/${known.pid}/task/${tid}`) === 0) return known;
    const pid = processOf(tid);
    if (pid === undefined) return undefined;
    const process = this.#processes.get(pid) ?? this.#add(pid);
    if (process === undefined || pid === tid) return process;
    if (this.#threads.size >= MAX_THREADS) this.#threads.clear();
    this.#threads.set(tid, process);
    return process;
  }

  /** The number of a thread's process, as far as it can be had: a call is reported when its thread is gone, too. */
  pidOf(tid: number): number {
    try {
      return this.of(tid)?.pid ?? tid;
    } catch (error) {
      if (error instanceof PutOffError) return processOf(tid) ?? tid;
      throw error;
    }
  }

  /** The known process whose first thread waits for our answer. */
  led(tid: number): Process | undefined {
    return this.#processes.get(tid);
  }

  /** A known process whose memory maps a byte of a file; undefined when none does. */
  sharing(place: FilePlace): SharedPlace | undefined {
    for (const { pid, memory } of this.#processes.values()) {
      const held = memory?.held;
      if (!held) continue;
      for (const mapping of mappingsOf(pid)) {
        const within = place.offset - mapping.offset;
        const length = mapping.end - mapping.start - within;
        if (isSameFile(mapping, place) && mapping.shared && within >= 0 && length > 0)
          return { held, address: mapping.start + within, length };
      }
    }
    return undefined;
  }

  /** The memory of a process, for calls on behalf of one of its threads. Throws when that is gone. */
  memory(process: Process, tid: number): ProcessMemory {
    if (process.executing.size > 0) this.#checkExecuted(process, tid);
    process.memory ??= new ProcessMemory(process.pid, tid, this.#tools);
    process.memory.caller = tid;
    return process.memory;
  }

  /**
   * A thread is about to call execve(), perhaps one that has never made a call on a file of ours. When it succeeds its
   * process has other memory. One that is not known yet may become so before that.
   */
  beforeExec(tid: number): void {
    const pid = processOf(tid);
    if (pid === undefined) return;
    const known = this.#processes.get(pid)?.executing ?? this.#early.get(pid);
    if (known !== undefined) known.add(tid);
    else {
      if (this.#early.size >= MAX_EARLY) this.#early.clear();
      this.#early.set(pid, new Set([tid]));
    }
  }

  /** A thread is about to call unshare() or setns(): it may be in another user namespace afterwards. */
  beforeNamespace(tid: number): void {
    const process = this.#processes.get(tid);
    if (process) process.isInNamespace = false;
  }

  /** Until the thread that called execve() is known to have gone on, every call may be the new program's first. */
  #checkExecuted(process: Process, tid: number): void {
    const { executing, memory } = process;
    if (memory !== undefined && !memory.isMemoryOf(tid)) {
      // All other threads are gone.
      executing.clear();
      memory.retire();
      process.memory = undefined;
      return;
    }
    executing.delete(tid);
    for (const each of executing) {
      if (statPath(AT_FDCWD, `/proc/${process.pid}/task/${each}`) < 0) executing.delete(each);
    }
  }

  /** A pidfd became readable: its process is gone. */
  gone(pidfd: number): void {
    for (const process of this.#processes.values()) {
      if (process.pidfd !== pidfd) continue;
      this.#processes.delete(process.pid);
      for (const [tid, owner] of this.#threads) if (owner === process) this.#threads.delete(tid);
      process.memory?.retire();
      close(process.pidfd);
      this.#hears.gone(process);
      return;
    }
  }

  /** Lets go of everything. */
  clear(): void {
    for (const process of [...this.#processes.values()]) this.gone(process.pidfd);
  }

  #add(pid: number): Process | undefined {
    const pidfd = syscall(HOST_CALLS.pidfd_open, pid, 0);
    if (noteShortage(pidfd) < 0) return undefined;
    try {
      this.#tools.caller.prove();
    } catch (error) {
      close(pidfd);
      throw error;
    }
    const process = new Process(pid, pidfd);
    for (const tid of this.#early.get(pid) ?? []) process.executing.add(tid);
    this.#early.delete(pid);
    this.#processes.set(pid, process);
    this.#hears.come(process);
    return process;
  }
}

/** The process that a thread belongs to; undefined when it is gone. */
function processOf(tid: number): number | undefined {
  const pid = Number(/^Tgid:\s+(\d+)/m.exec(readProc(tid, "status") ?? "")?.[1]);
  return Number.isNaN(pid) ? undefined : pid;
}
