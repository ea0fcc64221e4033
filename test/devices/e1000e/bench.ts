import type { E1000eDevice } from "../../../src/devices/kinds/e1000e/e1000e-device.ts";
import { e1000e } from "../../../src/devices/kinds/e1000e/kind.ts";
import * as reg from "../../../src/devices/kinds/e1000e/registers.ts";
import { readOptions } from "../../../src/devices/options.ts";
import type { TestBus } from "../nvme/bench.ts";

const UNIT = 16;
const ENTRIES = 16;
const TX_RING = 0x1000;
const RX_RINGS = [0x2000, 0x3000];
const TX_BUFFER = 0x10_0000;
const RX_BUFFER = 0x20_0000;
const BUFFER = 4096;
export const EOP_RS = 0x0900_0000;
export const DATA = 0x2010_0000;

export function makeCard(
  bus: TestBus,
  given: Readonly<Record<string, unknown>> = {},
  name = "0000:01:00.0",
): E1000eDevice {
  const { values, problems } = readOptions(e1000e as never, given);
  if (problems.length > 0) throw new RangeError(`${problems[0]!.option}: ${problems[0]!.message}`);
  return e1000e.create(bus, { name, options: values as never }) as E1000eDevice;
}

/** What descriptors of receive rings are. */
export type Form = "legacy" | "extended" | "split";

/** A driver of the first transmit ring and of both receive rings. */
export class CardDriver {
  readonly bus: TestBus;
  readonly device: E1000eDevice;
  readonly form: Form;
  #sent = 0;
  readonly #taken = [0, 0];

  constructor(bus: TestBus, device: E1000eDevice, form: Form = "extended") {
    this.bus = bus;
    this.device = device;
    this.form = form;
  }

  get #units(): number {
    return this.form === "split" ? 2 : 1;
  }

  read(offset: number): number {
    return Number(this.device.read(0, offset, 4));
  }

  write(offset: number, value: number): void {
    this.device.write(0, offset, 4, BigInt(value >>> 0));
  }

  /** Brings the queues into being; the link is up after a reset. @param rctl more of RCTL */
  start(rctl = reg.RCTL_UPE | reg.RCTL_MPE | reg.RCTL_BAM | reg.RCTL_SECRC): void {
    this.write(reg.TX_QUEUES + reg.BAL, TX_RING);
    this.write(reg.TX_QUEUES + reg.LEN, ENTRIES * UNIT);
    this.write(reg.TCTL, reg.TCTL_EN | 8);
    if (this.form !== "legacy") this.write(reg.RFCTL, reg.RFCTL_EXTEN);
    for (const [queue, ring] of RX_RINGS.entries()) {
      const first = reg.RX_QUEUES + queue * reg.QUEUE_STRIDE;
      this.write(first + reg.BAL, ring);
      this.write(first + reg.LEN, ENTRIES * UNIT * this.#units);
      for (let i = 0; i < ENTRIES; i++) this.#give(queue, i);
    }
    this.write(reg.RCTL, reg.RCTL_EN | rctl | (this.form === "split" ? 1 << 10 : 0));
    for (const queue of RX_RINGS.keys())
      this.write(reg.RX_QUEUES + queue * reg.QUEUE_STRIDE + reg.TAIL, (ENTRIES - 1) * this.#units);
  }

  #give(queue: number, index: number): void {
    const size = UNIT * this.#units;
    const at = RX_RINGS[queue]! + size * index;
    this.bus.memory.fill(0, at, at + size);
    const buffer = this.#buffer(queue, index);
    this.bus.memory.writeBigUInt64LE(BigInt(buffer), at);
    if (this.form === "split") this.bus.memory.writeBigUInt64LE(BigInt(buffer + 256), at + 8);
  }

  #buffer(queue: number, index: number): number {
    return RX_BUFFER + 2 * BUFFER * (queue * ENTRIES + index);
  }

  /** Puts a descriptor into the ring, and rings when that is wanted. */
  descriptor(low: bigint, command: number, options: number, ring = true): void {
    const at = TX_RING + UNIT * (this.#sent % ENTRIES);
    this.bus.memory.writeBigUInt64LE(low, at);
    this.bus.memory.writeUInt32LE(command >>> 0, at + 8);
    this.bus.memory.writeUInt32LE(options >>> 0, at + 12);
    this.#sent++;
    if (ring) this.write(reg.TX_QUEUES + reg.TAIL, this.#sent % ENTRIES);
  }

  /** Sends a frame by one data descriptor, or a legacy one. */
  send(frame: Uint8Array, { command = DATA, options = 0, ring = true } = {}): void {
    this.bus.memory.set(frame, TX_BUFFER);
    this.descriptor(BigInt(TX_BUFFER), EOP_RS | command | frame.length, options, ring);
  }

  /** Whether the last descriptor was written back. */
  get isDone(): boolean {
    return (this.bus.memory.readUInt32LE(TX_RING + UNIT * ((this.#sent - 1) % ENTRIES) + 12) & 1) !== 0;
  }

  /** The next frame that was received, as its descriptor has it; gives that back. */
  take(queue = 0) {
    const index = this.#taken[queue]! % ENTRIES;
    const at = RX_RINGS[queue]! + UNIT * this.#units * index;
    const { memory } = this.bus;
    const status = this.form === "legacy" ? memory[at + 12]! | (memory[at + 13]! << 24) : memory.readUInt32LE(at + 8);
    if (!(status & 1)) return undefined;
    const buffer = this.#buffer(queue, index);
    const length = memory.readUInt16LE(this.form === "legacy" ? at + 8 : at + 12);
    const further = this.form === "split" ? memory.readUInt16LE(at + 18) : 0;
    const taken = {
      frame: Buffer.from(memory.subarray(buffer, buffer + length)),
      /** What is in the second buffer. */
      data: Buffer.from(memory.subarray(buffer + 256, buffer + 256 + further)),
      status: status >>> 0,
      tag: memory.readUInt16LE(at + 14),
      hash: memory.readUInt32LE(at + 4),
      mrq: memory.readUInt32LE(at),
    };
    this.#give(queue, index);
    this.#taken[queue]!++;
    const tail = ((this.#taken[queue]! + ENTRIES - 1) % ENTRIES) * this.#units;
    this.write(reg.RX_QUEUES + queue * reg.QUEUE_STRIDE + reg.TAIL, tail);
    return taken;
  }
}
