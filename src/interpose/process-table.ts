import { noteShortage } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import { AT_FDCWD } from "./linux.ts";
import { statPath } from "./path-stat.ts";
import { readProc } from "./proc-file.ts";
import { type DeviceMemoryTest, ProcessMemory } from "./process-memory.ts";

/** A process that uses our files. */
export class Process {
  readonly pid: number;
  /** Readable once the process is gone. */
  readonly pidfd: number;
  memory: ProcessMemory | undefined;

  constructor(pid: number, pidfd: number) {
    this.pid = pid;
    this.pidfd = pidfd;
  }
}

/** Threads beside the leader that are remembered; then all of them are looked up again. */
const MAX_THREADS = 4096;

/** The processes that use our files, found by thread. */
export class ProcessTable {
  readonly #processes = new Map<number, Process>();
  readonly #threads = new Map<number, Process>();
  readonly #isDeviceMemory: DeviceMemoryTest;
  readonly #onNew: (process: Process) => void;

  /** @param onNew hears of each new process, to watch its pidfd */
  constructor(isDeviceMemory: DeviceMemoryTest, onNew: (process: Process) => void) {
    this.#isDeviceMemory = isDeviceMemory;
    this.#onNew = onNew;
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
    const pid = Number(/^Tgid:\s+(\d+)/m.exec(readProc(tid, "status") ?? "")?.[1]);
    if (Number.isNaN(pid)) return undefined;
    const process = this.#processes.get(pid) ?? this.#add(pid);
    if (process === undefined || pid === tid) return process;
    if (this.#threads.size >= MAX_THREADS) this.#threads.clear();
    this.#threads.set(tid, process);
    return process;
  }

  /** The memory of a process, for calls on behalf of one of its threads. */
  memory(process: Process, tid: number): ProcessMemory {
    if (process.memory?.execPending) {
      // Whether it succeeded shows now, at the process' next call.
      process.memory.execPending = false;
      if (!process.memory.isCurrent()) {
        process.memory.retire();
        process.memory = undefined;
      }
    }
    process.memory ??= new ProcessMemory(process.pid, tid, this.#isDeviceMemory);
    process.memory.caller = tid;
    return process.memory;
  }

  /** A thread is about to call execve(). Of a process that used no file of ours there is nothing to remember. */
  beforeExec(tid: number): void {
    const process = this.#processes.get(tid) ?? this.#threads.get(tid);
    if (process?.memory === undefined) return;
    process.memory.caller = tid;
    process.memory.hold();
    process.memory.execPending = true;
  }

  /** A pidfd became readable: its process is gone. */
  gone(pidfd: number): void {
    for (const process of this.#processes.values()) {
      if (process.pidfd !== pidfd) continue;
      this.#processes.delete(process.pid);
      for (const [tid, owner] of this.#threads) if (owner === process) this.#threads.delete(tid);
      process.memory?.retire();
      close(process.pidfd);
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
    const process = new Process(pid, pidfd);
    this.#processes.set(pid, process);
    this.#onNew(process);
    return process;
  }
}
