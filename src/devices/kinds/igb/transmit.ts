import type { DeviceJob } from "../../device-clock.ts";
import { Causes } from "./causes.ts";
import * as frames from "./frame.ts";
import type { Memory } from "./memory.ts";
import * as offloads from "./offloads.ts";
import type { RegisterFile } from "./register-file.ts";
import * as reg from "./registers.ts";
import type { Statistics } from "./statistics.ts";

const DESCRIPTOR = 16;
/** The largest packet that is cut into segments: PAYLEN has 18 bits. Nothing longer is collected. */
const MOST = 2 ** 18;

/** Command bits in the third word of a descriptor (82576 datasheet, 7.2.2). */
const EOP = 1 << 24;
const LEGACY_IC = 1 << 26;
const RS = 1 << 27;
const DEXT = 1 << 29;
const VLE = 1 << 30;
const TSE = 1 << 31;
const TYPE = 0xf << 20;
const TYPE_CONTEXT = 2 << 20;
const TYPE_DATA = 3 << 20;
/** Time stamp this packet. */
const TSTAMP = 1 << 19;
/** Options in the fourth word. */
const IXSM = 1 << 8;
const TXSM = 1 << 9;
const DD = 1 << 0;

/** What comes out of the sending side. */
export interface TransmitOutputs {
  memory(queue: number): Memory;
  send(frame: Uint8Array): void;
  /** A packet that asks for it is being sent now. */
  stamp(): void;
}

/** What is collected of a packet, and the contexts that were given. Plain data: it is saved. */
export interface TransmitState {
  readonly contexts: offloads.Context[];
  /** The first descriptor's command and options, or a legacy one's; undefined between packets. */
  first: { readonly command: number; readonly options: number } | undefined;
  bytes: Uint8Array;
  /** Nothing of this packet is sent. */
  isLost: boolean;
}

export function noTransmission(): TransmitState {
  return { contexts: [offloads.NO_CONTEXT, offloads.NO_CONTEXT], first: undefined, bytes: NOTHING, isLost: false };
}

const NOTHING = new Uint8Array();

/** One of the sending queues: a job that takes a descriptor at a time. */
export class TransmitQueue implements DeviceJob {
  readonly #file: RegisterFile;
  readonly #statistics: Statistics;
  readonly #causes: Causes;
  readonly #outputs: TransmitOutputs;
  readonly #queue: number;
  readonly #descriptor = new Uint8Array(DESCRIPTOR);
  readonly #view = new DataView(this.#descriptor.buffer);
  readonly #status = new Uint8Array(8);
  state = noTransmission();
  /** Causes of EICR for descriptors that were written back. */
  #reported = 0;
  /** Segments of a packet that are still to be sent, before anything else. */
  #segments: Iterator<Uint8Array> | undefined;

  constructor(
    queue: number,
    about: { file: RegisterFile; statistics: Statistics; causes: Causes; outputs: TransmitOutputs },
  ) {
    this.#queue = queue;
    this.#file = about.file;
    this.#statistics = about.statistics;
    this.#causes = about.causes;
    this.#outputs = about.outputs;
  }

  reset(): void {
    this.state = noTransmission();
    this.#reported = 0;
    this.#segments = undefined;
  }

  /** Sends what is left of a packet whose descriptors are done, and tells of them: it is on its way already. */
  finishPacket(): void {
    while (this.#segments) this.#sendSegment();
    this.#report();
  }

  /** Whether there is something to do, and it may be done. */
  get isReady(): boolean {
    if (!this.#file.has(reg.TCTL, reg.TCTL_EN) || !(this.#ring(reg.DCTL) & reg.DCTL_ENABLE)) return false;
    if (this.#pool !== undefined && !this.#file.has(reg.VFTE, 1 << this.#pool)) return false;
    const [head, tail] = [this.#ring(reg.HEAD), this.#ring(reg.TAIL)];
    return head !== tail && tail < this.#count;
  }

  get #pool(): number | undefined {
    return this.#file.has(reg.MRQC, reg.MRQC_VMDQ) ? this.#queue % reg.POOLS : undefined;
  }

  get #count(): number {
    return this.#ring(reg.LEN) / DESCRIPTOR;
  }

  step(): number | undefined {
    if (this.#segments) return this.#sendSegment();
    if (!this.isReady) {
      this.#report();
      return undefined;
    }
    const memory = this.#outputs.memory(this.#queue);
    const head = this.#ring(reg.HEAD);
    const base = (BigInt(this.#ring(reg.BAH)) << 32n) | BigInt(this.#ring(reg.BAL));
    const at = base + BigInt(DESCRIPTOR * head);
    memory.read(at, this.#descriptor);
    const command = this.#view.getUint32(8, true);
    const moved = this.#take(memory, command);
    const next = head + 1 >= this.#count ? 0 : head + 1;
    this.#file.set(reg.TX_QUEUES + this.#queue * reg.QUEUE_STRIDE + reg.HEAD, next);
    if (command & RS) this.#writeBack(memory, at, next);
    return moved;
  }

  #sendSegment(): number {
    const { value, done } = this.#segments!.next();
    if (done) {
      this.#segments = undefined;
      return 0;
    }
    this.#outputs.send(value);
    return value.length;
  }

  /** Tells of what was written back, once for all that is done in one go. */
  #report(): void {
    if (this.#reported === 0) return;
    const reported = this.#reported;
    this.#reported = 0;
    this.#causes.raiseExtended(reported);
    this.#causes.raise(reg.ICR_TXDW);
  }

  /** A status in the descriptor, or the head where TDWBAL says (7.2.3). */
  #writeBack(memory: Memory, at: bigint, head: number): void {
    const low = this.#ring(reg.WBAL);
    const status = new DataView(this.#status.buffer);
    if (low & 1) {
      status.setUint32(0, head, true);
      const where = (BigInt(this.#ring(reg.WBAH)) << 32n) | BigInt((low & ~3) >>> 0);
      memory.write(where, this.#status.subarray(0, 4));
    } else {
      status.setUint32(0, this.#view.getUint32(8, true), true);
      status.setUint32(4, this.#view.getUint32(12, true) | DD, true);
      memory.write(at + 8n, this.#status);
    }
    const entry = this.#file.get(reg.IVAR + 4 * (this.#queue & 7)) >>> (this.#queue < 8 ? 8 : 24);
    this.#reported |= Causes.bitOf(entry & 0xff);
  }

  /** Does what a descriptor says. Returns how many bytes that moved. */
  #take(memory: Memory, command: number): number {
    const { state } = this;
    const options = this.#view.getUint32(12, true);
    if (command & DEXT && (command & TYPE) === TYPE_CONTEXT) {
      state.contexts[(options >>> 4) & 1] = {
        vlanMacipLens: this.#view.getUint32(0, true),
        mssL4Len: options,
      };
      return 0;
    }
    if (command & DEXT && (command & TYPE) !== TYPE_DATA) return 0;
    state.first ??= { command, options };
    const length = command & 0xffff;
    if (!this.#collect(memory, this.#view.getBigUint64(0, true), length)) state.isLost = true;
    if (!(command & EOP)) return length;
    const { first, bytes, isLost } = state;
    state.first = undefined;
    state.bytes = NOTHING;
    state.isLost = false;
    if (isLost || bytes.length < frames.ETHERNET_HEADER) return length;
    // a legacy packet's options are in its last descriptor (7.2.2.1)
    this.#send(bytes, command & DEXT ? first : { command, options });
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

  #send(bytes: Uint8Array, { command, options }: { readonly command: number; readonly options: number }): void {
    const context = this.state.contexts[(options >>> 4) & 1]!;
    const isAdvanced = (command & DEXT) !== 0;
    if (!isAdvanced && command & LEGACY_IC)
      offloads.fillLegacyChecksum(bytes, (options >>> 8) & 0xff, (command >>> 16) & 0xff);
    const tag = this.#tag(command & VLE ? (isAdvanced ? offloads.vlanOf(context) : options >>> 16) : undefined);
    const frame = tag === undefined ? bytes : offloads.withTag(bytes, this.#file.get(reg.VET) & 0xffff, tag);
    const { length } = frame;
    if (isAdvanced && command & TSTAMP) this.#outputs.stamp();
    if (isAdvanced && command & TSE) {
      this.#segments = offloads.segments(frame, offloads.maximumSegment(context));
      this.#statistics.segmented();
    } else {
      if (isAdvanced) offloads.fillChecksums(frame, { network: !!(options & IXSM), transport: !!(options & TXSM) });
      this.#outputs.send(frame);
    }
    this.#statistics.sent(frame, length, this.#pool);
  }

  /** The tag that a packet gets: a pool may have one for all of its packets, or none (8.14.25, VMVIR). */
  #tag(wanted: number | undefined): number | undefined {
    const pool = this.#pool;
    if (pool === undefined) return wanted;
    const rule = this.#file.get(reg.VMVIR + 4 * pool);
    if (rule & reg.VMVIR_DEFAULT) return rule & 0xffff;
    return rule & reg.VMVIR_NEVER ? undefined : wanted;
  }

  #ring(register: number): number {
    return this.#file.get(reg.TX_QUEUES + this.#queue * reg.QUEUE_STRIDE + register);
  }
}
