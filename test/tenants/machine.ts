import { Host } from "../../src/host/host.ts";
import { KernelError } from "../../src/kernel/errors.ts";
import type { HostKernel } from "../../src/kernel/host-kernel.ts";
import { PROT_READ, PROT_WRITE } from "../../src/kernel/model-areas.ts";
import { ModelTask } from "../../src/kernel/model-task.ts";
import type { HostDescription } from "../../src/machine/host-description.ts";
import { TenantViolation } from "./steps.ts";

/** One process of a tenant: the calls that it makes. Each returns its value, or the errno below 0. */
export interface TenantProcess {
  open(path: string): number;
  close(fd: number): number;
  /** ioctl() with a number. */
  ioctl(fd: number, request: number, value?: number): number;
  /** ioctl() with a structure, which comes back in place. */
  exchange(fd: number, request: number, bytes: Uint8Array): number;
  pread(fd: number, offset: number, into: Uint8Array): number;
  pwrite(fd: number, offset: number, bytes: Uint8Array): number;
  /** The address of new private memory. */
  allocate(length: number): number;
  peek(address: number, into: Uint8Array): void;
  poke(address: number, bytes: Uint8Array): void;
}

/** The processes of all tenants on one host. */
export interface Machine {
  process(index: number): TenantProcess;
  /** The process dies without a word, and another one takes its place. @param held groups' or devices' nodes that it had open */
  kill(index: number, held: readonly string[]): void;
  /** Why the last call failed; empty where nobody says. */
  readonly reason: string;
  /** What the host has warned of since they were last taken. */
  takeWarnings(): readonly string[];
  end(): void;
}

const SCRATCH = 65536;
/** More than a request with a PASID table or a group's name needs. */
const SMALL = 4096;

/** A process of the model, in this process. */
class ModelProcess implements TenantProcess {
  readonly task = new ModelTask();
  readonly #machine: ModelMachine;
  readonly #scratch: number;

  constructor(machine: ModelMachine) {
    this.#machine = machine;
    this.#scratch = this.allocate(SCRATCH);
  }

  open(path: string): number {
    return this.#attempt(() => {
      const file = this.#machine.kernel.open(this.task, path, 2);
      return this.task.files.install(file, false);
    });
  }

  close(fd: number): number {
    return this.#attempt(() => {
      this.task.files.close(fd);
      return 0;
    });
  }

  ioctl(fd: number, request: number, value = 0): number {
    const file = this.task.files.get(fd)!;
    return this.#attempt(() => this.#machine.aroundRequests(() => file.ioctl(this.task, request, value)));
  }

  exchange(fd: number, request: number, bytes: Uint8Array): number {
    if (bytes.length > SMALL) throw new RangeError(`a structure of ${bytes.length} bytes`);
    this.poke(this.#scratch, bytes);
    const result = this.ioctl(fd, request, this.#scratch);
    this.peek(this.#scratch, bytes);
    return result;
  }

  pread(fd: number, offset: number, into: Uint8Array): number {
    const count = this.#attempt(() => this.task.files.get(fd)!.read(this.task, this.#scratch, into.length, offset));
    this.peek(this.#scratch, into);
    return count;
  }

  pwrite(fd: number, offset: number, bytes: Uint8Array): number {
    this.poke(this.#scratch, bytes);
    return this.#attempt(() => this.task.files.get(fd)!.write(this.task, this.#scratch, bytes.length, offset));
  }

  allocate(length: number): number {
    return this.task.memory.mmap({ length, protection: PROT_READ | PROT_WRITE });
  }

  peek(address: number, into: Uint8Array): void {
    this.task.memory.copyIn(address, into, into.length);
  }

  poke(address: number, bytes: Uint8Array): void {
    this.task.memory.copyOut(address, bytes, bytes.length);
  }

  #attempt(call: () => number): number {
    try {
      return call();
    } catch (error) {
      if (!(error instanceof KernelError)) throw new TenantViolation(`a call ended in no errno but in ${error}`);
      this.#machine.reason = `${error.code}: ${error.reason}`;
      return -error.errno;
    }
  }
}

/** A host that tells what is in use in its IOMMUs. */
export interface CountingKernel extends HostKernel {
  readonly iommuUse: object;
}

/** A host in this process with some processes of the model. */
export class ModelMachine implements Machine {
  readonly kernel: CountingKernel;
  reason = "";
  readonly #warnings: string[] = [];
  /** What is done around each request, with no copying of the test's own in it. */
  aroundRequests: (call: () => number) => number = (call) => call();
  readonly #processes: ModelProcess[];
  /** The memory of everybody who ever was here. */
  readonly #memories: ModelTask["memory"][] = [];

  constructor(kernel: CountingKernel, count: number) {
    this.kernel = kernel;
    this.#processes = Array.from({ length: count }, () => new ModelProcess(this));
  }

  /** On a host that is booted for them: its warnings are kept, each time. */
  static booted(description: HostDescription, count: number): ModelMachine {
    let warned: (message: string) => void = () => {};
    const host = new Host(description, { everyWarning: true, onWarning: (message) => warned(message) });
    const machine = new ModelMachine(host, count);
    warned = (message) => machine.#warnings.push(message);
    return machine;
  }

  takeWarnings(): readonly string[] {
    return this.#warnings.splice(0);
  }

  process(index: number): ModelProcess {
    return this.#processes[index]!;
  }

  kill(index: number): void {
    const { task } = this.process(index);
    task.exit();
    this.#memories.push(task.memory);
    this.#processes[index] = new ModelProcess(this);
  }

  end(): void {
    for (const { task } of this.#processes) task.exit();
    const memories = [...this.#memories, ...this.#processes.map(({ task }) => task.memory)];
    const pins = memories.reduce((sum, { pinCount }) => sum + pinCount, 0);
    const locked = memories.reduce((sum, { lockedPages }) => sum + lockedPages, 0);
    const left = Object.entries({ ...this.kernel.iommuUse, pins, locked }).filter(([, count]) => count !== 0);
    if (left.length > 0) {
      throw new TenantViolation(`everybody has gone, and this is left: ${JSON.stringify(Object.fromEntries(left))}`);
    }
  }
}
