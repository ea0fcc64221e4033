import { AddressFilter } from "../../gigabit/address-filter.ts";
import * as frames from "../../gigabit/frame.ts";
import type { FrameReceiver } from "../../gigabit/incoming-frames.ts";
import type { Memory } from "../../gigabit/memory.ts";
import { padded } from "../../gigabit/received-status.ts";
import type { RegisterFile } from "../../gigabit/register-file.ts";
import { Ring, UNIT } from "../../gigabit/ring.ts";
import { type Hashed, hashed } from "../../gigabit/rss.ts";
import type { Statistics } from "../../gigabit/statistics.ts";
import { strippedTag } from "../../gigabit/stripped-tag.ts";
import type { Causes } from "./causes.ts";
import { type About, headerOf, isAck, type Layout, layoutOf, writeDescription } from "./receive-descriptors.ts";
import * as reg from "./registers.ts";

const ADDRESSES = 16;
const MTU = 1500;
const VLAN_TAG = 4;
/** The longest frame there is, with its checksum. */
const LONGEST = 16 * 1024;
/** The queue in an entry of the redirection table. */
const QUEUE_SHIFT = 7;
const ALL_UNITS = 2 * UNIT;

/** The receiving side: filters, queues, descriptors (82574 datasheet, 7.1). */
export class Receiver implements FrameReceiver {
  readonly #file: RegisterFile;
  readonly #statistics: Statistics;
  readonly #causes: Causes;
  readonly #memory: Memory;
  readonly #usesMsix: () => boolean;
  readonly #addresses: AddressFilter;
  readonly #rings: readonly Ring[];
  readonly #descriptor = new Uint8Array(ALL_UNITS);

  constructor(about: {
    file: RegisterFile;
    statistics: Statistics;
    causes: Causes;
    memory: Memory;
    usesMsix: () => boolean;
  }) {
    this.#file = about.file;
    this.#statistics = about.statistics;
    this.#causes = about.causes;
    this.#memory = about.memory;
    this.#usesMsix = about.usesMsix;
    this.#addresses = new AddressFilter(about.file, [[reg.RA, ADDRESSES]]);
    this.#rings = Array.from(
      { length: reg.QUEUES },
      (_, queue) => new Ring(about.file, reg.RX_QUEUES + queue * reg.QUEUE_STRIDE),
    );
  }

  get hasLink(): boolean {
    return this.#file.has(reg.STATUS, reg.STATUS_LU);
  }

  get isOn(): boolean {
    return this.hasLink && this.#file.has(reg.RCTL, reg.RCTL_EN);
  }

  get hasRoom(): boolean {
    const { units } = layoutOf(this.#file);
    return this.#rings.some((ring) => ring.count > 0 && ring.free >= units);
  }

  receive(sent: Uint8Array): void {
    if (!this.isOn) return;
    const frame = padded(sent, () => this.#statistics.undersized());
    if (this.#isOversized(frame)) {
      this.#statistics.oversized();
      return;
    }
    if (!this.#passes(frame)) return;
    const parsed = frames.parse(frame);
    const hash = this.#hash(frame, parsed);
    const queue = (hash?.entry ?? 0) >>> QUEUE_SHIFT;
    const ring = this.#rings[queue]!;
    const file = this.#file;
    const [tag, shown] = file.has(reg.CTRL, reg.CTRL_VME) ? strippedTag(frame, file.get(reg.VET)) : [undefined, frame];
    const total = shown.length + (file.has(reg.RCTL, reg.RCTL_SECRC) ? 0 : frames.FCS);
    const layout = layoutOf(file);
    const header = layout.splits ? headerOf(shown, layout, file) : 0;
    if (layout.descriptors(total, header) * layout.units > ring.free) {
      this.#causes.received(reg.ICR_RXO);
      return;
    }
    this.#deliver(ring, layout, { shown, total, header, about: { frame, parsed, hash, queue, tag } });
    this.#statistics.received(frame, shown.length, total);
    this.#tell(ring, queue, { total, isAcknowledgement: isAck(frame, parsed, file) });
  }

  #isOversized(frame: Uint8Array): boolean {
    const file = this.#file;
    if (file.has(reg.RCTL, reg.RCTL_SBP)) return false;
    const isLong = file.has(reg.RCTL, reg.RCTL_LPE);
    return frame.length > (isLong ? LONGEST - frames.FCS : frames.ETHERNET_HEADER + VLAN_TAG + MTU);
  }

  #passes(frame: Uint8Array): boolean {
    const isTagged = frames.word(frame, frames.ETHERNET_HEADER - 2) === this.#file.get(reg.VET);
    const passesVlan = !isTagged || this.#addresses.passesVlan(frames.word(frame, frames.ETHERNET_HEADER) & 0xfff);
    return passesVlan && this.#addresses.passesAddress(frame);
  }

  /** Where MRQC asks for hashing, and descriptors can have the hash. */
  #hash(frame: Uint8Array, parsed: frames.Parsed): Hashed | undefined {
    const file = this.#file;
    const mrqc = file.get(reg.MRQC);
    const shows = file.has(reg.RXCSUM, reg.RXCSUM_PCSD) && file.has(reg.RFCTL, reg.RFCTL_EXTEN);
    return shows && (mrqc & reg.MRQC_MODE) === reg.MRQC_RSS
      ? hashed(frame, parsed, file, mrqc & reg.MRQC_FIELDS)
      : undefined;
  }

  /** Puts a frame into buffers, a part for each descriptor. Its checksum is zeros. */
  #deliver(
    ring: Ring,
    layout: Layout,
    { shown, total, header, about }: { shown: Uint8Array; total: number; header: number; about: About },
  ): void {
    const descriptor = this.#descriptor.subarray(0, layout.units * UNIT);
    const data = new Uint8Array(total);
    data.set(shown);
    for (let done = 0; done < total; ) {
      if (ring.isEmpty) return;
      const at = ring.address;
      descriptor.set(ring.fetch(this.#memory, layout.units));
      const view = new DataView(descriptor.buffer, 0, descriptor.length);
      const written = layout.sizes.map(() => 0);
      // a descriptor without a buffer is skipped
      if (view.getBigUint64(0, true) !== 0n)
        for (const [index, size] of layout.sizes.entries()) {
          const room = header === 0 ? size : index > 0 ? size : done === 0 ? header : 0;
          const part = data.subarray(done, done + room);
          if (part.length > 0) this.#memory.write(view.getBigUint64(8 * index, true), part);
          written[index] = part.length;
          done += part.length;
        }
      writeDescription(view, this.#file, { written, header, about: done >= total ? about : undefined });
      this.#memory.write(at, descriptor);
      ring.advance(layout.units);
    }
  }

  #tell(ring: Ring, queue: number, { total, isAcknowledgement }: { total: number; isAcknowledgement: boolean }): void {
    const file = this.#file;
    let causes = total < file.get(reg.RSRPD) ? reg.ICR_SRPD : 0;
    if (isAcknowledgement && !file.has(reg.RFCTL, reg.RFCTL_ACK_DIS)) causes |= reg.ICR_ACK;
    if (this.#usesMsix()) causes |= queue === 0 ? reg.ICR_RXQ0 : reg.ICR_RXQ1;
    else {
      const threshold = ring.count >>> (1 + ((file.get(reg.RCTL) >>> 8) & 3));
      causes |= reg.ICR_RXT0 | (ring.free === threshold ? reg.ICR_RXDMT0 : 0);
    }
    this.#causes.received(causes);
  }
}
