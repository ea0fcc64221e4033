import type { DeviceJob } from "../device-clock.ts";
import type { Memory } from "./memory.ts";
import { type Ring, UNIT } from "./ring.ts";

/** The largest packet that is cut into segments. Nothing longer is collected. */
const MOST = 2 ** 18;

/** Command bits in the third word of a descriptor (82574 datasheet, 7.2.10; 82576 datasheet, 7.2.2). */
export const EOP = 1 << 24;
export const RS = 1 << 27;
export const DEXT = 1 << 29;
export const VLE = 1 << 30;
/** In the fourth word of what is written back. */
export const DD = 1 << 0;

/** The first descriptor's command and options, or a legacy one's. */
export interface Command {
  readonly command: number;
  readonly options: number;
}

/** What is collected of a packet. Plain data: it is saved. */
export interface Collected {
  /** Undefined between packets. */
  first: Command | undefined;
  bytes: Uint8Array;
  /** Nothing of this packet is sent. */
  isLost: boolean;
}

export function nothingCollected(): Collected {
  return { first: undefined, bytes: NOTHING, isLost: false };
}

const NOTHING = new Uint8Array();

/** A sending queue: a job that takes a descriptor at a time, or a segment of a packet that is cut. */
export abstract class TransmitQueue<State extends Collected> implements DeviceJob {
  readonly ring: Ring;
  abstract state: State;
  /** The descriptor that was at the head. */
  protected readonly view = new DataView(new ArrayBuffer(UNIT));
  readonly #descriptor = new Uint8Array(this.view.buffer);
  readonly #send: (frame: Uint8Array) => void;
  /** Segments of a packet that are still to be sent, before anything else. */
  #segments: Iterator<Uint8Array> | undefined;

  constructor(ring: Ring, send: (frame: Uint8Array) => void) {
    this.ring = ring;
    this.#send = send;
  }

  /** Whether there is something to do, and it may be done. */
  abstract get isReady(): boolean;
  protected abstract get memory(): Memory;
  /** What is between packets, with nothing known from before. */
  protected abstract initialState(): State;
  /** Does what a descriptor says that is none of data. @returns whether it is one of those */
  protected abstract takeOther(command: number, options: number): boolean;
  /** A packet's descriptors have all come. @param last the command and options of the last one */
  protected abstract send(bytes: Uint8Array, first: Command, last: Command): void;
  /** Writes back what a descriptor has become. @param at where it lies */
  protected abstract writeBack(memory: Memory, at: bigint, command: number): void;
  /** All that can be done now is done. */
  protected abstract report(): void;

  reset(): void {
    this.state = this.initialState();
    this.#segments = undefined;
  }

  /** Sends what is left of a packet whose descriptors are done, and tells of them: it is on its way already. */
  finishPacket(): void {
    while (this.#segments) this.#sendSegment();
    this.report();
  }

  step(): number | undefined {
    if (this.#segments) return this.#sendSegment();
    if (!this.isReady) {
      this.report();
      return undefined;
    }
    const { memory, ring } = this;
    const at = ring.address;
    this.#descriptor.set(ring.fetch(memory));
    const command = this.view.getUint32(8, true);
    const moved = this.#take(memory, command);
    ring.advance();
    this.writeBack(memory, at, command);
    return moved;
  }

  /** Has a packet sent, in segments or as a whole. */
  protected sendAll(segments: Iterator<Uint8Array>): void {
    this.#segments = segments;
  }

  protected sendNow(frame: Uint8Array): void {
    this.#send(frame);
  }

  #sendSegment(): number {
    const { value, done } = this.#segments!.next();
    if (done) {
      this.#segments = undefined;
      return 0;
    }
    this.#send(value);
    return value.length;
  }

  /** Returns how many bytes a descriptor moved. */
  #take(memory: Memory, command: number): number {
    const { state } = this;
    const options = this.view.getUint32(12, true);
    if (this.takeOther(command, options)) return 0;
    state.first ??= { command, options };
    const length = command & 0xffff;
    if (!this.#collect(memory, this.view.getBigUint64(0, true), length)) state.isLost = true;
    if (!(command & EOP)) return length;
    const { first, bytes, isLost } = state;
    state.first = undefined;
    state.bytes = NOTHING;
    state.isLost = false;
    if (isLost || bytes.length < SHORTEST) return length;
    this.send(bytes, first, { command, options });
    return bytes.length;
  }

  /** False for a descriptor without data, and when it becomes too much. */
  #collect(memory: Memory, address: bigint, length: number): boolean {
    const { state } = this;
    const before = state.bytes.length;
    if (state.isLost || length === 0 || before + length > MOST) return false;
    const bytes = new Uint8Array(before + length);
    bytes.set(state.bytes);
    memory.read(address, bytes.subarray(before));
    state.bytes = bytes;
    return true;
  }
}

/** Less is no frame: its addresses and type. */
const SHORTEST = 14;
