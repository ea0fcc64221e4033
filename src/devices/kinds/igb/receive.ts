import * as frames from "../../gigabit/frame.ts";
import type { FrameReceiver } from "../../gigabit/incoming-frames.ts";
import type { Memory } from "../../gigabit/memory.ts";
import { bufferSize, checkedSums, DD, EOP, IPIDV, padded, VP } from "../../gigabit/received-status.ts";
import type { RegisterFile } from "../../gigabit/register-file.ts";
import { Ring, UNIT } from "../../gigabit/ring.ts";
import type { Hashed } from "../../gigabit/rss.ts";
import { strippedTag } from "../../gigabit/stripped-tag.ts";
import { Causes } from "./causes.ts";
import { Filters } from "./filters.ts";
import type { PoolStatistics } from "./pool-statistics.ts";
import * as reg from "./registers.ts";

const NO_CHECKSUM = new Uint8Array(frames.FCS);

/** Packet type in the first 16 bits, behind the RSS type. */
const TYPE_IPV4 = 1 << 4;
const TYPE_IPV6 = 1 << 6;
const TYPES: ReadonlyMap<number, number> = new Map([
  [frames.TCP, 1 << 8],
  [frames.UDP, 1 << 9],
  [frames.SCTP, 1 << 10],
]);
const TYPE_FILTER = 1 << 15;

/** What is read and written of a queue's memory, and by whom. */
type QueueMemory = (queue: number) => Memory;

/** The receiving side: filters, queues, descriptors. */
export class Receiver implements FrameReceiver {
  readonly #file: RegisterFile;
  readonly #statistics: PoolStatistics;
  readonly #filters: Filters;
  readonly #causes: Causes;
  readonly #memory: QueueMemory;
  readonly #descriptor = new Uint8Array(UNIT);
  readonly #view = new DataView(this.#descriptor.buffer);
  readonly #rings: readonly Ring[];

  constructor(file: RegisterFile, statistics: PoolStatistics, causes: Causes, memory: QueueMemory) {
    this.#file = file;
    this.#statistics = statistics;
    this.#filters = new Filters(file, statistics);
    this.#causes = causes;
    this.#memory = memory;
    this.#rings = Array.from({ length: reg.QUEUES }, (_, queue) => new Ring(file, ringAt(queue)));
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
      if (this.#isEnabled(queue) && this.#rings[queue]!.count > 0 && this.#rings[queue]!.free > 0) return true;
    return false;
  }

  /**
   * Takes a frame.
   * @param isLocal it was sent by a pool of this port
   * @returns whether such a frame goes out to the wire too
   */
  receive(sent: Uint8Array, isLocal = false): boolean {
    if (!this.isOn) return true;
    const frame = padded(sent, () => this.#statistics.undersized());
    const parsed = frames.parse(frame);
    const { queues, hashed, etherTypeFilter, leaves } = this.#filters.assign(frame, parsed, isLocal);
    if (queues === 0) return leaves;
    let causes = 0;
    let extended = 0;
    for (let queue = 0; queue < reg.QUEUES; queue++) {
      if (!(queues & (1 << queue)) || !this.#isEnabled(queue)) continue;
      const [tag, shown] = this.#stripped(frame, queue);
      const total = shown.length + (this.#file.has(reg.RCTL, reg.RCTL_SECRC) ? 0 : frames.FCS);
      const ring = this.#rings[queue]!;
      if (total > ring.free * this.#bufferSize(ring)) {
        causes |= reg.ICR_RXO;
        continue;
      }
      causes |= reg.ICR_RXDW;
      this.#deliver(queue, shown, total, { frame, parsed, hashed, etherTypeFilter, tag });
      this.#statistics.received(frame, shown.length, total, this.#poolOf(queue));
      if (ring.free === ((ring.get(reg.SRRCTL) >>> 20) & 31) * 16) causes |= reg.ICR_RXDMT0;
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
    return strippedTag(frame, file.get(reg.VET), file.has(reg.CTRL_EXT, reg.CTRL_EXT_EXTENDED_VLAN));
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
    const ring = this.#rings[queue]!;
    const size = this.#bufferSize(ring);
    for (let done = 0; done < total; done += size) {
      if (ring.isEmpty) return;
      const at = ring.address;
      this.#descriptor.set(ring.fetch(memory));
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
      ring.advance();
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
      status |= EOP | checkedSums(frame, parsed, this.#file);
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

  #isEnabled(queue: number): boolean {
    return (this.#rings[queue]!.get(reg.DCTL) & reg.DCTL_ENABLE) !== 0;
  }

  #bufferSize(ring: Ring): number {
    const kilobytes = ring.get(reg.SRRCTL) & reg.SRRCTL_BSIZEPKT;
    return kilobytes !== 0 ? kilobytes * 1024 : bufferSize(this.#file.get(reg.RCTL));
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

function ringAt(queue: number): number {
  return reg.RX_QUEUES + queue * reg.QUEUE_STRIDE;
}
