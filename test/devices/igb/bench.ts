import type { DeviceModel } from "../../../src/devices/device-model.ts";
import type { IgbDevice } from "../../../src/devices/kinds/igb/igb-device.ts";
import { igb } from "../../../src/devices/kinds/igb/kind.ts";
import * as reg from "../../../src/devices/kinds/igb/registers.ts";
import { readOptions } from "../../../src/devices/options.ts";
import type { TestBus } from "../nvme/bench.ts";

export const DESCRIPTOR = 16;
const ENTRIES = 16;
const TX_RING = 0x1000;
const RX_RING = 0x2000;
const TX_BUFFER = 0x10_0000;
const RX_BUFFER = 0x20_0000;
const BUFFER = 2048;
const EOP_RS = 0x0900_0000;
const ADVANCED = 0x2030_0000;

export function makePort(
  bus: TestBus,
  given: Readonly<Record<string, unknown>> = {},
  name = "0000:01:00.0",
): IgbDevice {
  const { values, problems } = readOptions(igb as never, given);
  if (problems.length > 0) throw new RangeError(`${problems[0]!.option}: ${problems[0]!.message}`);
  return igb.create(bus, { name, options: values as never }) as IgbDevice;
}

/** Has devices find each other, as a host does. */
export function connectAll(devices: Readonly<Record<string, DeviceModel>>): void {
  const others = { find: (name: string) => devices[name], all: () => Object.values(devices) };
  for (const device of Object.values(devices)) device.connect?.(others);
}

/** A driver of one queue of each kind. */
export class TestDriver {
  readonly bus: TestBus;
  readonly device: IgbDevice;
  #sent = 0;
  #taken = 0;

  constructor(bus: TestBus, device: IgbDevice) {
    this.bus = bus;
    this.device = device;
  }

  read(offset: number): number {
    return Number(this.device.read(0, offset, 4));
  }

  write(offset: number, value: number): void {
    this.device.write(0, offset, 4, BigInt(value >>> 0));
  }

  /** Brings the link up and the queues into being. @param rctl more of RCTL */
  start(rctl = reg.RCTL_UPE | reg.RCTL_MPE | reg.RCTL_BAM | reg.RCTL_SECRC): void {
    this.write(reg.MDIC, 0x0420_1340);
    this.bus.clock.pass(600);
    this.write(reg.TX_QUEUES + reg.BAL, TX_RING);
    this.write(reg.TX_QUEUES + reg.LEN, ENTRIES * DESCRIPTOR);
    this.write(reg.TCTL, reg.TCTL_EN | 8);
    this.write(reg.RX_QUEUES + reg.BAL, RX_RING);
    this.write(reg.RX_QUEUES + reg.LEN, ENTRIES * DESCRIPTOR);
    this.write(reg.RX_QUEUES + reg.SRRCTL, 2);
    for (let i = 0; i < ENTRIES; i++) this.#give(i);
    this.write(reg.RCTL, reg.RCTL_EN | rctl);
    this.write(reg.RX_QUEUES + reg.TAIL, ENTRIES - 1);
  }

  #give(index: number): void {
    this.bus.memory.fill(0, RX_RING + DESCRIPTOR * index, RX_RING + DESCRIPTOR * (index + 1));
    this.bus.memory.writeBigUInt64LE(BigInt(RX_BUFFER + BUFFER * index), RX_RING + DESCRIPTOR * index);
  }

  /** Puts a descriptor into the ring, and rings when that is wanted. */
  descriptor(low: bigint, command: number, options: number, ring = true): void {
    const at = TX_RING + DESCRIPTOR * (this.#sent % ENTRIES);
    this.bus.memory.writeBigUInt64LE(low, at);
    this.bus.memory.writeUInt32LE(command >>> 0, at + 8);
    this.bus.memory.writeUInt32LE(options >>> 0, at + 12);
    this.#sent++;
    if (ring) this.ring();
  }

  ring(): void {
    this.write(reg.TX_QUEUES + reg.TAIL, this.#sent % ENTRIES);
  }

  /** Sends a frame by one advanced descriptor. @param at where its buffer is */
  send(frame: Uint8Array, { command = 0, options = 0, at = TX_BUFFER, ring = true } = {}): void {
    this.bus.memory.set(frame, at);
    this.descriptor(BigInt(at), ADVANCED | EOP_RS | command | frame.length, options, ring);
  }

  /** Gives a context descriptor. */
  context({ mss = 0, tag = 0 }: { mss?: number; tag?: number }): void {
    this.descriptor(BigInt(tag) << 16n, 0x2020_0000, mss << 16, false);
  }

  /** The next frame that was received, with its status; gives its descriptor back. */
  take():
    | { readonly frame: Buffer; readonly status: number; readonly info: number; readonly hash: number }
    | undefined {
    const index = this.#taken % ENTRIES;
    const at = RX_RING + DESCRIPTOR * index;
    const { memory } = this.bus;
    const status = memory.readUInt32LE(at + 8);
    if (!(status & 1)) return undefined;
    const length = memory.readUInt16LE(at + 12);
    const taken = {
      frame: Buffer.from(memory.subarray(RX_BUFFER + BUFFER * index, RX_BUFFER + BUFFER * index + length)),
      status,
      info: memory.readUInt16LE(at),
      hash: memory.readUInt32LE(at + 4),
    };
    this.#give(index);
    this.#taken++;
    this.write(reg.RX_QUEUES + reg.TAIL, (this.#taken + ENTRIES - 1) % ENTRIES);
    return taken;
  }
}

/** An IPv4 packet of TCP or UDP in a frame, without checksums. */
export function packet({
  protocol = 6,
  payload = 100,
  flags = 0x10,
  ports = [1000, 2000],
  from = "10.0.0.1",
  to = "10.0.0.2",
} = {}) {
  const header = protocol === 6 ? 20 : 8;
  const frame = Buffer.alloc(14 + 20 + header + payload);
  frame.fill(0xff, 0, 6);
  frame.set([2, 0, 0, 0, 0, 9], 6);
  frame.writeUInt16BE(0x0800, 12);
  frame[14] = 0x45;
  frame.writeUInt16BE(frame.length - 14, 16);
  frame.writeUInt16BE(0x1234, 18);
  frame[22] = 64;
  frame[23] = protocol;
  for (const [i, address] of [from, to].entries()) frame.set(address.split(".").map(Number), 26 + 4 * i);
  frame.writeUInt16BE(ports[0]!, 34);
  frame.writeUInt16BE(ports[1]!, 36);
  if (protocol === 6) {
    frame.writeUInt32BE(1, 38);
    frame[46] = 0x50;
    frame[47] = flags;
  } else frame.writeUInt16BE(8 + payload, 38);
  for (let i = 0; i < payload; i++) frame[34 + header + i] = i * 7;
  return frame;
}
