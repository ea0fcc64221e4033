import * as reg from "../../../src/devices/mediated/sample/registers.ts";
import { Host } from "../../../src/host/host.ts";
import { EventFile } from "../../../src/kernel/model-event.ts";
import type { ModelTask, ModelTaskOptions } from "../../../src/kernel/model-task.ts";
import { emulatedGroup, mdevDevice } from "../../../src/machine/describe.ts";
import type { HostDescription } from "../../../src/machine/host-description.ts";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import { VFIO_DEVICE_SET_IRQS, VfioIrqSet } from "../../../src/uapi/vfio-device.ts";
import { Program, type Result } from "../program.ts";

export const PAGE = 4096n;
export const CONFIG = 7 * 2 ** 40;
const BUFFER = reg.BUFFER_BAR * 2 ** 40;
export const SAMPLES = [
  { group: 12, name: "c08db5ed-05d3-4b39-b150-438a18bc698f" },
  { group: 13, name: "c08db5ed-05d3-4b39-b150-438a18bc6990" },
] as const;
/** The host's PCI device in a group of its own. */
export const PCI_GROUP = 5;

const intel = readyMadeHost("intel")!;

/** The ready-made host `intel` with two sample devices in place of its GPU share. */
export const SAMPLE_HOST: HostDescription = {
  ...intel,
  groups: [
    ...intel.groups.filter(({ id }) => id !== SAMPLES[0].group),
    ...SAMPLES.map(({ group, name }) =>
      emulatedGroup(group, mdevDevice({ uuid: name, parent: "0000:00:02.0", type: "uvfio-sample" })),
    ),
  ],
};

export function sampleHost(onWarning?: (message: string) => void): Host {
  return new Host(SAMPLE_HOST, onWarning ? { onWarning } : {});
}

/** An open sample device: its registers, through the program's read and write. */
export class Sample {
  readonly fd: Result;
  readonly #program: Program;
  readonly #scratch: number;

  constructor(program: Program, group: Result, name: string = SAMPLES[0].name, fd = program.deviceFd(group, name)) {
    this.#program = program;
    this.fd = fd;
    if (typeof this.fd === "string") throw new Error(`no device: ${this.fd} ${program.reason}`);
    this.#scratch = program.memory(4096);
  }

  /** One that was opened through its own node. */
  static opened(program: Program, fd: Result): Sample {
    return new Sample(program, "no group", "", fd);
  }

  pread(offset: number, length: number): Uint8Array | string {
    const { task } = this.#program;
    const file = task.files.get(Number(this.fd))!;
    const count = this.#program.attempt(() => file.read(task, this.#scratch, length, offset));
    if (typeof count === "string") return count;
    const bytes = new Uint8Array(count);
    task.memory.copyIn(this.#scratch, bytes, count);
    return bytes;
  }

  pwrite(offset: number, bytes: Uint8Array, task = this.#program.task): Result {
    const file = task.files.get(Number(this.fd))!;
    task.memory.copyOut(this.#scratch, bytes, bytes.length);
    return this.#program.attempt(() => file.write(task, this.#scratch, bytes.length, offset));
  }

  get(register: number): number {
    const bytes = this.pread(register, 4) as Uint8Array;
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  set(register: number, value: number, task = this.#program.task): void {
    const result = this.pwrite(register, new Uint8Array(new Uint32Array([value]).buffer), task);
    if (result !== 4) throw new Error(`register ${register}: ${result} ${this.#program.reason}`);
  }

  /** Runs a command and returns its status. */
  run(command: reg.Command, iova: bigint, count: number, options: { flags?: number; task?: ModelTask } = {}): number {
    const { flags = 0, task = this.task } = options;
    this.pwrite(reg.IOVA_LOW, new Uint8Array(new BigUint64Array([iova]).buffer), task);
    this.set(reg.COUNT, count, task);
    this.set(reg.FLAGS, flags, task);
    this.set(reg.COMMAND, reg.COMMANDS.indexOf(command), task);
    return this.get(reg.STATUS);
  }

  get task(): ModelTask {
    return this.#program.task;
  }

  pin(iova: bigint, count: number, write = true): number {
    return this.run("PIN", iova, count, { flags: write ? reg.FLAG_WRITE : 0 });
  }

  unpin(iova: bigint, count: number): number {
    return this.run("UNPIN", iova, count);
  }

  /** What the device's buffer begins with. */
  buffer(length: number): number[] {
    return [...(this.pread(BUFFER, length) as Uint8Array)];
  }

  setBuffer(bytes: readonly number[]): void {
    this.pwrite(BUFFER, Uint8Array.from(bytes));
  }

  close(): Result {
    return this.#program.close(this.fd);
  }

  /** SET_IRQS, ACTION_TRIGGER with one eventfd. */
  eventfd(index: number): EventFile {
    const file = new EventFile();
    const fd = this.task.files.install(file, false);
    const bytes = VfioIrqSet.encode({ argsz: 24, flags: 4 | 32, index, start: 0, count: 1 }, 4);
    new DataView(bytes.buffer).setInt32(20, fd, true);
    const result = this.#program.ioctlBytes(this.fd, VFIO_DEVICE_SET_IRQS, bytes);
    if (result !== 0) throw new Error(`SET_IRQS: ${result} ${this.#program.reason}`);
    return file;
  }

  /** SET_IRQS without data; returns the request's result. */
  irqs(index: number, action: "mask" | "unmask" | "trigger", count: number): Result {
    const flags = 1 | { mask: 8, unmask: 16, trigger: 32 }[action];
    const bytes = VfioIrqSet.encode({ argsz: 20, flags, index, start: 0, count });
    return this.#program.ioctlBytes(this.fd, VFIO_DEVICE_SET_IRQS, bytes);
  }
}

export interface Setup {
  readonly program: Program;
  readonly container: Result;
  readonly group: Result;
  readonly sample: Sample;
  /** 16 pages of the program's memory, mapped at iova 0. */
  readonly memory: number;
}

/** A program with the first sample device alone in a container, and 16 pages mapped at iova 0. */
export function setup(options: ModelTaskOptions = {}, host: Host = sampleHost()): Setup {
  const program = new Program(host, options);
  const { container, group } = program.container(SAMPLES[0].group);
  const memory = program.memory(16 * 4096);
  program.map(container, 0n, memory, 16n * PAGE);
  return { program, container, group, memory, sample: new Sample(program, group) };
}
