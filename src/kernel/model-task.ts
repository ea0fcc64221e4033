import { ModelFileTable } from "./model-files.ts";
import { ModelMemory } from "./model-memory.ts";
import { CAP_DAC_OVERRIDE, CAP_IPC_LOCK, CAP_SYS_ADMIN, CAP_SYS_RAWIO, CAP_SYS_RESOURCE, type Task } from "./task.ts";

/** The kernel's default RLIMIT_MEMLOCK since 5.16. */
const DEFAULT_MEMLOCK = 8 * 2 ** 20;
const FIRST_PID = 1000;

/** Capabilities of root that VFIO looks at. */
export const ROOT_CAPABILITIES: readonly number[] = [
  CAP_DAC_OVERRIDE,
  CAP_IPC_LOCK,
  CAP_SYS_RAWIO,
  CAP_SYS_ADMIN,
  CAP_SYS_RESOURCE,
];

/** What a process of the model is made with; each has a default. */
export interface ModelTaskOptions {
  /** For messages; "program" when left out. */
  readonly name?: string;
  /** The next free number when left out. */
  readonly pid?: number;
  /** An empty one when left out. */
  readonly memory?: ModelMemory;
  /** None when left out. */
  readonly files?: ModelFileTable;
  /** Bytes of a page, for a memory of its own. */
  readonly pageSize?: number;
  /**
   * The byte order of its processor, for a memory of its own: true when left out (isLittleEndian() of a host's arch).
   */
  readonly littleEndian?: boolean;
  /** 0 when left out. */
  readonly euid?: number;
  /** Root's when left out and euid is 0, else none. */
  readonly capabilities?: Iterable<number>;
  /** Soft RLIMIT_MEMLOCK in bytes. */
  readonly memlock?: number;
}

let lastPid = FIRST_PID;

/**
 * A process of the model with one thread. Credentials and limits can be changed as setuid(), capset() and setrlimit()
 * do.
 */
export class ModelTask implements Task, Disposable {
  /** The thread that calls. */
  readonly tid: number;
  /** The process. */
  readonly pid: number;
  /** Its short name. */
  readonly name: string;
  /** Its address space. */
  readonly memory: ModelMemory;
  /** Its descriptors. */
  readonly files: ModelFileTable;
  /** Effective user; 0 is root. */
  euid: number;
  /** CAP_* that it has. */
  readonly capabilities: Set<number>;
  /** Soft RLIMIT_MEMLOCK in bytes. */
  memlock: number;

  constructor(options: ModelTaskOptions = {}) {
    const { name = "program", euid = 0, pid = lastPid++, memlock = DEFAULT_MEMLOCK } = options;
    this.pid = pid;
    this.tid = pid;
    this.name = name;
    this.memory = options.memory ?? new ModelMemory(options.pageSize, options.littleEndian);
    this.files = options.files ?? new ModelFileTable();
    this.euid = euid;
    this.capabilities = new Set(options.capabilities ?? (euid === 0 ? ROOT_CAPABILITIES : []));
    this.memlock = memlock;
  }

  /** Whether it has a capability (CAP_*). */
  capable(capability: number): boolean {
    return this.capabilities.has(capability);
  }

  /** RLIMIT_MEMLOCK in bytes. */
  memlockLimit(): number {
    return this.memlock;
  }

  /** setuid(): leaving root takes the capabilities along. */
  setuid(uid: number): void {
    if (this.euid === 0 && uid !== 0) this.capabilities.clear();
    this.euid = uid;
  }

  /** fork(): the same files, a copy of the memory, the same rights and limits. */
  fork(): ModelTask {
    return new ModelTask({
      name: this.name,
      memory: this.memory.fork(),
      files: this.files.fork(),
      euid: this.euid,
      capabilities: this.capabilities,
      memlock: this.memlock,
    });
  }

  /** Another thread: the same process in all but the thread id. */
  thread(): Task {
    return Object.assign(Object.create(this) as ModelTask, { tid: lastPid++ });
  }

  /**
   * The process is over: its files are closed. The memory, and what is held of it, lives as long as somebody refers to
   * it.
   */
  exit(): void {
    this.files.closeAll();
  }

  /** As exit(). */
  [Symbol.dispose](): void {
    this.exit();
  }
}
