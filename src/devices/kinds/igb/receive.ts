import { Causes } from "./causes.ts";
import { Filters } from "./filters.ts";
import * as frames from "./frame.ts";
import type { Memory } from "./memory.ts";
import type { RegisterFile } from "./register-file.ts";
import * as reg from "./registers.ts";
import type { Hashed } from "./rss.ts";
import type { Statistics } from "./statistics.ts";

const DESCRIPTOR = 16;
const NO_CHECKSUM = new Uint8Array(frames.FCS);
const VLAN_TAG = 4;
const MAC_ADDRESSES = 12;

/** Status and error bits of an advanced descriptor (82576 datasheet, 7.1.5.2). */
const DD = 1 << 0;
const EOP = 1 << 1;
const VP = 1 << 3;
const UDPCS = 1 << 4;
const L4CS = 1 << 5;
const IPCS = 1 << 6;
const IPIDV = 1 << 9;
const L4E = 1 << 29;
const IPE = 1 << 30;

/** Packet type in the first 16 bits, behind the RSS type. */
const TYPE_IPV4 = 1 << 4;
const TYPE_IPV6 = 1 << 6;
const TYPES: ReadonlyMap<number, number> = new Map([
  [frames.TCP, 1 << 8],
  [frames.UDP, 1 << 9],
  [frames.SCTP, 1 << 10],
]);
const TYPE_FILTER = 1 << 15;

/** Sizes of buffers by RCTL.BSIZE, and with BSEX (8.10.1). */
const BUFFER_SIZES = [2048, 1024, 512, 256];
const LONG_BUFFER_SIZES = [2048, 16384, 8192, 4096];

/** What is read and written of a queue's memory, and by whom. */
type QueueMemory = (queue: number) => Memory;

/** The receiving side: filters, queues, descriptors. */
export class Receiver {
  readonly #file: RegisterFile;
  readonly #statistics: Statistics;
  readonly #filters: Filters;
  readonly #causes: Causes;
  readonly #memory: QueueMemory;
  readonly #descriptor = new Uint8Array(DESCRIPTOR);
  readonly #view = new DataView(this.#descriptor.buffer);

  constructor(file: RegisterFile, statistics: Statistics, causes: Causes, memory: QueueMemory) {
    this.#file = file;
    this.#statistics = statistics;
    this.#filters = new Filters(file, statistics);
    this.#causes = causes;
    this.#memory = memory;
  }

  get hasLink(): boolean {
    return this.#file.has(reg.STATUS, reg.STATUS_LU);
  }

  /** Whether anything is received at all. */
  get isOn(): boolean {
    return this.hasLink && this.#file.has(reg.RCTL, reg.RCTL_EN);
  }

  /** Whether there is a descriptor for a frame from outside, in any queue. */
  get hasRoom(): boolean {
    for (let queue = 0; queue < reg.QUEUES; queue++)
      if (this.#isEnabled(queue) && this.#ring(queue, reg.LEN) > 0 && this.#free(queue) > 0) return true;
    return false;
  }

  /**
   * Takes a frame.
   * @param isLocal it was sent by a pool of this port
   * @returns whether such a frame goes out to the wire too
   */
  receive(sent: Uint8Array, isLocal = false): boolean {
    if (!this.isOn) return true;
    let frame = sent;
    if (frame.length < frames.MINIMUM) {
      frame = new Uint8Array(frames.MINIMUM);
      frame.set(sent);
      this.#statistics.undersized();
    }
    const parsed = frames.parse(frame);
    const { queues, hashed, etherTypeFilter, leaves } = this.#filters.assign(frame, parsed, isLocal);
    if (queues === 0) return leaves;
    let causes = 0;
    let extended = 0;
    for (let queue = 0; queue < reg.QUEUES; queue++) {
      if (!(queues & (1 << queue)) || !this.#isEnabled(queue)) continue;
      const [tag, shown] = this.#stripped(frame, queue);
      const total = shown.length + (this.#file.has(reg.RCTL, reg.RCTL_SECRC) ? 0 : frames.FCS);
      if (total > this.#free(queue) * this.#bufferSize(queue)) {
        causes |= reg.ICR_RXO;
        continue;
      }
      causes |= reg.ICR_RXDW;
      this.#deliver(queue, shown, total, { frame, parsed, hashed, etherTypeFilter, tag });
      this.#statistics.received(frame, shown.length, total, this.#poolOf(queue));
      if (this.#free(queue) === ((this.#ring(queue, reg.SRRCTL) >>> 20) & 31) * 16) causes |= reg.ICR_RXDMT0;
      extended |= Causes.bitOf(this.#file.get(reg.IVAR + 4 * (queue & 7)) >>> (queue < 8 ? 0 : 16));
    }
    this.#causes.raiseExtended(extended);
    this.#causes.raise(causes);
    return leaves;
  }

  #poolOf(queue: number): number | undefined {
    return this.#file.has(reg.MRQC, reg.MRQC_VMDQ) ? queue % reg.POOLS : undefined;
  }

  /** The tag that is taken out, and what is left. */
  #stripped(frame: Uint8Array, queue: number): [tag: number | undefined, shown: Uint8Array] {
    if (!this.#stripsTags(frame, queue)) return [undefined, frame];
    const file = this.#file;
    const types = file.get(reg.VET);
    const isExtended = file.has(reg.CTRL_EXT, reg.CTRL_EXT_EXTENDED_VLAN);
    const at = isExtended ? MAC_ADDRESSES + VLAN_TAG : MAC_ADDRESSES;
    if (isExtended && frames.word(frame, MAC_ADDRESSES) !== types >>> 16) return [undefined, frame];
    if (frames.word(frame, at) !== (types & 0xffff)) return [undefined, frame];
    const shown = new Uint8Array(frame.length - VLAN_TAG);
    shown.set(frame.subarray(0, at));
    shown.set(frame.subarray(at + VLAN_TAG), at);
    return [frames.word(frame, at + 2), shown];
  }

  #stripsTags(frame: Uint8Array, queue: number): boolean {
    const pool = this.#poolOf(queue);
    if (pool === undefined) return this.#file.has(reg.CTRL, reg.CTRL_VME);
    const isReplicated = frames.isMulticast(frame) && !frames.isBroadcast(frame);
    return this.#file.has(isReplicated ? reg.RPLOLR : reg.VMOLR + 4 * pool, reg.VMOLR_STRVLAN);
  }

  /** @param total bytes with the checksum, which is zeros */
  #deliver(queue: number, shown: Uint8Array, total: number, about: About): void {
    const memory = this.#memory(queue);
    const size = this.#bufferSize(queue);
    for (let done = 0; done < total; done += size) {
      const [head, tail, count] = [reg.HEAD, reg.TAIL].map((at) => this.#ring(queue, at)).concat(this.#count(queue));
      if (head === tail || tail! >= count!) return;
      const at = this.#base(queue) + BigInt(DESCRIPTOR * head!);
      memory.read(at, this.#descriptor);
      const buffer = this.#view.getBigUint64(0, true);
      let written = 0;
      if (buffer !== 0n) {
        const part = shown.subarray(done, done + size);
        memory.write(buffer, part);
        const rest = Math.min(total - done, size) - part.length;
        if (rest > 0) memory.write(buffer + BigInt(part.length), NO_CHECKSUM.subarray(0, rest));
        written = part.length + rest;
      }
      // nothing is told of a frame whose last buffer is none
      this.#describe(written, buffer !== 0n && done + size >= total ? about : undefined);
      memory.write(at, this.#descriptor);
      this.#setRing(queue, reg.HEAD, head! + 1 >= count! ? 0 : head! + 1);
    }
  }

  /** Writes what is said of a buffer; about the frame only behind its last one. */
  #describe(length: number, about: About | undefined): void {
    this.#descriptor.fill(0);
    const view = this.#view;
    view.setUint16(12, length, true);
    let status = DD;
    if (about) {
      const { frame, parsed, hashed, etherTypeFilter, tag } = about;
      status |= EOP | this.#checksums(frame, parsed);
      if (tag !== undefined) {
        status |= VP;
        view.setUint16(14, tag, true);
      }
      if (this.#file.has(reg.RXCSUM, reg.RXCSUM_PCSD)) {
        if (hashed) view.setUint32(4, hashed.hash, true);
      } else if (parsed.version === 4) {
        status |= IPIDV;
        view.setUint16(4, frames.word(frame, parsed.network + 4), true);
      }
      view.setUint16(0, (hashed?.type ?? 0) | typeOf(parsed, etherTypeFilter), true);
    }
    view.setUint32(8, status >>> 0, true);
  }

  #checksums(frame: Uint8Array, parsed: frames.Parsed): number {
    const file = this.#file;
    if (parsed.version === 6 && file.has(reg.RFCTL, reg.RFCTL_IPV6_XSUM_DIS)) return 0;
    let status = 0;
    const network = file.has(reg.RXCSUM, reg.RXCSUM_IPOFLD) ? frames.checkNetwork(frame, parsed) : undefined;
    if (network !== undefined) status |= IPCS | (network ? 0 : IPE);
    const transport = file.has(reg.RXCSUM, reg.RXCSUM_TUOFLD) ? frames.checkTransport(frame, parsed) : undefined;
    if (transport === undefined) return status;
    return status | L4CS | (transport ? 0 : L4E) | (parsed.protocol === frames.UDP ? UDPCS : 0);
  }

  #isEnabled(queue: number): boolean {
    return (this.#ring(queue, reg.DCTL) & reg.DCTL_ENABLE) !== 0;
  }

  #bufferSize(queue: number): number {
    const kilobytes = this.#ring(queue, reg.SRRCTL) & reg.SRRCTL_BSIZEPKT;
    if (kilobytes !== 0) return kilobytes * 1024;
    const control = this.#file.get(reg.RCTL);
    return (control & (1 << 25) ? LONG_BUFFER_SIZES : BUFFER_SIZES)[(control >>> 16) & 3]!;
  }

  /** Descriptors that the device may use. */
  #free(queue: number): number {
    const [head, tail] = [this.#ring(queue, reg.HEAD), this.#ring(queue, reg.TAIL)];
    return head <= tail ? tail - head : this.#count(queue) + tail - head;
  }

  #count(queue: number): number {
    return this.#ring(queue, reg.LEN) / DESCRIPTOR;
  }

  #base(queue: number): bigint {
    return (BigInt(this.#ring(queue, reg.BAH)) << 32n) | BigInt(this.#ring(queue, reg.BAL));
  }

  #ring(queue: number, register: number): number {
    return this.#file.get(reg.RX_QUEUES + queue * reg.QUEUE_STRIDE + register);
  }

  #setRing(queue: number, register: number, value: number): void {
    this.#file.set(reg.RX_QUEUES + queue * reg.QUEUE_STRIDE + register, value);
  }
}

interface About {
  readonly frame: Uint8Array;
  readonly parsed: frames.Parsed;
  readonly hashed: Hashed | undefined;
  readonly etherTypeFilter: number | undefined;
  readonly tag: number | undefined;
}

function typeOf({ version, protocol }: frames.Parsed, etherTypeFilter: number | undefined): number {
  if (etherTypeFilter !== undefined) return TYPE_FILTER | (etherTypeFilter << 4);
  const network = version === 4 ? TYPE_IPV4 : version === 6 ? TYPE_IPV6 : 0;
  return network | (TYPES.get(protocol) ?? 0);
}
