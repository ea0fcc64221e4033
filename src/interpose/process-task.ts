import type { AddressSpace } from "../kernel/address-space.ts";
import { fail } from "../kernel/errors.ts";
import { CAP_DAC_OVERRIDE, CAP_IPC_LOCK, type FileTable, type Task } from "../kernel/task.ts";
import type { Word } from "../kernel/word.ts";
import type { CallerMemory, Owner } from "./caller-memory.ts";
import type { Credentials } from "./credentials.ts";
import { refuseNotedShortage } from "./descriptor-shortage.ts";
import type { EarlyLooks } from "./early-looks.ts";
import { readProc } from "./proc-file.ts";
import type { Process, ProcessTable } from "./process-table.ts";
import type { ProgramFiles } from "./program-files.ts";

/** What is looked at of the caller. */
interface CallerLooks {
  readonly caller: CallerMemory;
  readonly early: EarlyLooks;
}

/**
 * The thread whose call is being handled. One object, set anew for each call: a Task is valid during a call only. What
 * process it belongs to is found out when something asks, which calls on files that are not ours never do.
 */
export class ProcessTask implements Task {
  readonly #processes: ProcessTable;
  readonly #credentials: Credentials;
  readonly #files: ProgramFiles;
  readonly #caller: CallerMemory;
  readonly #early: EarlyLooks;
  readonly #owner: Owner = {
    client: () => this.process.pid,
    held: () => this.#processes.memory(this.process, this.#tid).held,
  };
  #tid = 0;
  #process: Process | undefined;
  /** CAP_IPC_LOCK, once it was asked for. */
  #mayLock: boolean | undefined;
  /**
   * The file permissions of the node in hand have been checked, as the kernel does before a driver's open() runs: by
   * its stand-in's owner and mode, which the program may have changed. The model need not check them again.
   */
  mayOpenNode = false;

  constructor(processes: ProcessTable, credentials: Credentials, files: ProgramFiles, { caller, early }: CallerLooks) {
    this.#caller = caller;
    this.#early = early;
    this.#processes = processes;
    this.#credentials = credentials;
    this.#files = files;
  }

  use(tid: number): void {
    this.#tid = tid;
    this.#process = undefined;
    this.mayOpenNode = false;
    this.#mayLock = undefined;
    this.#caller.isUnproved = false;
    this.#files.use(this);
  }

  get tid(): number {
    return this.#tid;
  }

  get process(): Process {
    this.#process ??= this.#processes.of(this.#tid);
    if (this.#process === undefined) refuseNotedShortage();
    // Nobody hears this: the caller was killed.
    return this.#process ?? fail("EINTR", `thread ${this.#tid} is gone`);
  }

  get pid(): number {
    return this.process.pid;
  }

  get name(): string {
    return readProc(this.#tid, "comm")?.trimEnd() ?? "?";
  }

  get memory(): AddressSpace {
    return this.#processes.memory(this.process, this.#tid);
  }

  get files(): FileTable {
    return this.#files;
  }

  /** As memory.copyIn(), for calls that may be about a file that is not ours: their process is not looked up. */
  copyIn(address: Word, into: Uint8Array, length: number): void {
    this.#caller.read(this.#owner, this.#tid, address, into, length);
  }

  copyString(address: Word, max: number, encoding: "utf8" | "latin1" = "utf8"): string {
    return this.#caller.string(this.#owner, this.#tid, address, max, encoding);
  }

  get euid(): number {
    return this.#proved(this.#credentials.euid(this.#tid));
  }

  capable(capability: number): boolean {
    if (this.mayOpenNode && capability === CAP_DAC_OVERRIDE) return true;
    // What is pinned asks for it more than once, and proves its caller when it has all that it asks for.
    if (capability === CAP_IPC_LOCK) {
      this.#early.noteRights();
      this.#caller.isUnproved ||= !this.#credentials.isKnown(this.#tid, this.process);
      this.#mayLock ??= this.#credentials.capable(this.#tid, capability, this.process);
      return this.#mayLock;
    }
    return this.#proved(this.#credentials.capable(this.#tid, capability, this.process));
  }

  memlockLimit(): number {
    const isKnown = this.#credentials.isKnown(this.#tid, this.process);
    const limit = this.#credentials.memlockLimit(this.#tid);
    return isKnown ? limit : this.#proved(limit);
  }

  /** What was found by the caller's number is the caller's if it waits still. */
  #proved<T>(found: T): T {
    this.#caller.prove();
    return found;
  }
}
