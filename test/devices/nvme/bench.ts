import { DeviceClock } from "../../../src/devices/device-clock.ts";
import type { DeviceBus } from "../../../src/devices/device-model.ts";
import { nvme } from "../../../src/devices/kinds/nvme/kind.ts";
import type { NvmeDevice } from "../../../src/devices/kinds/nvme/nvme-device.ts";
import * as reg from "../../../src/devices/kinds/nvme/registers.ts";
import { readOptions } from "../../../src/devices/options.ts";

/** Memory of one piece from address 0 on, and what the device does on its bus. */
export class TestBus implements DeviceBus {
  readonly clock: DeviceClock;
  readonly memory = Buffer.alloc(4 << 20);
  messagesEnabled = true;
  readonly messages: number[] = [];
  line = false;

  constructor(now = () => 0) {
    this.clock = new DeviceClock(now);
  }

  dmaRead(iova: bigint, into: Uint8Array): boolean {
    into.fill(0);
    if (!this.#reaches(iova, into.length)) return false;
    into.set(this.memory.subarray(Number(iova), Number(iova) + into.length));
    return true;
  }

  dmaWrite(iova: bigint, from: Uint8Array): boolean {
    if (!this.#reaches(iova, from.length)) return false;
    this.memory.set(from, Number(iova));
    return true;
  }

  #reaches(iova: bigint, length: number): boolean {
    return iova + BigInt(length) <= BigInt(this.memory.length);
  }

  sendMessage(vector: number): void {
    this.messages.push(vector);
  }

  setLine(asserted: boolean): void {
    this.line = asserted;
  }
}

export function makeNvme(bus: DeviceBus, given: Readonly<Record<string, unknown>> = {}): NvmeDevice {
  const { values, problems } = readOptions(nvme, given);
  if (problems.length > 0) throw new RangeError(problems[0]!.message);
  return nvme.create(bus, { name: "test", options: values as never }) as NvmeDevice;
}

export interface Completed {
  readonly id: number;
  /** Status code type and code, without "do not retry". */
  readonly status: number;
  readonly doNotRetry: boolean;
  readonly result: number;
  readonly head: number;
}

interface Queue {
  readonly id: number;
  readonly submissions: number;
  readonly completions: number;
  readonly size: number;
  tail: number;
  head: number;
  phase: number;
}

/** A driver that gives one command after the other. */
export class TestDriver {
  bus: TestBus;
  device: NvmeDevice;
  readonly admin: Queue;
  #next = 1;

  constructor(bus: TestBus, device: NvmeDevice, entries = 16) {
    this.bus = bus;
    this.device = device;
    this.admin = { id: 0, submissions: 0x1000, completions: 0x2000, size: entries, tail: 0, head: 0, phase: 1 };
  }

  write(offset: number, value: number | bigint, width: 4 | 8 = 4): void {
    this.device.write(0, offset, width, BigInt(value));
  }

  read(offset: number): number {
    return Number(this.device.read(0, offset, 4));
  }

  enable(): void {
    this.write(reg.AQA, ((this.admin.size - 1) << 16) | (this.admin.size - 1));
    this.write(reg.ASQ, this.admin.submissions, 8);
    this.write(reg.ACQ, this.admin.completions, 8);
    this.write(reg.CC, 0x46_0001);
  }

  /** Makes a pair of I/O queues. */
  makeQueues(id = 1, size = 16, vector = id): Queue {
    const queue = { id, size, submissions: 0x4000 * id, completions: 0x4000 * id + 0x2000, tail: 0, head: 0, phase: 1 };
    this.adminCommand({ opcode: 5, prp1: queue.completions, dwords: [((size - 1) << 16) | id, (vector << 16) | 3] });
    this.adminCommand({ opcode: 1, prp1: queue.submissions, dwords: [((size - 1) << 16) | id, (id << 16) | 1] });
    return queue;
  }

  adminCommand(command: CommandFields): Completed {
    return this.command(this.admin, command);
  }

  command(queue: Queue, fields: CommandFields): Completed {
    this.submit(queue, fields);
    const completed = this.take(queue);
    if (!completed) throw new Error("the command was not completed");
    return completed;
  }

  /** Puts an entry into a queue, and rings. */
  submit(queue: Queue, fields: CommandFields, ring = true): number {
    const id = this.#next++ & 0xffff;
    this.bus.memory.set(entry({ ...fields, id }), queue.submissions + 64 * queue.tail);
    queue.tail = (queue.tail + 1) % queue.size;
    if (ring) this.ring(queue);
    return id;
  }

  ring(queue: Queue): void {
    this.write(reg.tailDoorbell(queue.id), queue.tail);
  }

  /** Takes the next completion, if there is one. */
  take(queue: Queue): Completed | undefined {
    const at = queue.completions + 16 * queue.head;
    const { memory } = this.bus;
    const word = memory.readUInt16LE(at + 14);
    if ((word & 1) !== queue.phase) return undefined;
    queue.head = (queue.head + 1) % queue.size;
    if (queue.head === 0) queue.phase ^= 1;
    this.write(reg.headDoorbell(queue.id), queue.head);
    return {
      id: memory.readUInt16LE(at + 12),
      status: (word >>> 1) & 0x7ff,
      doNotRetry: (word & 0x8000) !== 0,
      result: memory.readUInt32LE(at),
      head: memory.readUInt16LE(at + 8),
    };
  }
}

export interface CommandFields {
  readonly opcode: number;
  readonly flags?: number;
  readonly id?: number;
  readonly nsid?: number;
  readonly metadata?: number;
  readonly prp1?: number;
  readonly prp2?: number;
  /** From dword 10 on. */
  readonly dwords?: readonly number[];
}

export function entry(fields: CommandFields): Buffer {
  const { opcode, flags = 0, id = 0, nsid = 0, metadata = 0, prp1 = 0, prp2 = 0, dwords = [] } = fields;
  const bytes = Buffer.alloc(64);
  bytes[0] = opcode;
  bytes[1] = flags;
  bytes.writeUInt16LE(id, 2);
  bytes.writeUInt32LE(nsid >>> 0, 4);
  bytes.writeBigUInt64LE(BigInt(metadata), 16);
  bytes.writeBigUInt64LE(BigInt(prp1), 24);
  bytes.writeBigUInt64LE(BigInt(prp2), 32);
  for (const [index, value] of dwords.entries()) bytes.writeUInt32LE(value >>> 0, 40 + 4 * index);
  return bytes;
}

/** A driver of a device that is enabled. */
export function enabled(options: Readonly<Record<string, unknown>> = {}, now?: () => number): TestDriver {
  const bus = new TestBus(now);
  const driver = new TestDriver(bus, makeNvme(bus, options));
  driver.enable();
  return driver;
}
