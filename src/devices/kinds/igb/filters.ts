import { ETHERNET_HEADER, FCS, isBroadcast, isMulticast, type Parsed, word } from "./frame.ts";
import type { RegisterFile } from "./register-file.ts";
import * as reg from "./registers.ts";
import { type Hashed, hashed, isEnabled, NOT_HASHED } from "./rss.ts";
import type { Statistics } from "./statistics.ts";

/** Where a received frame goes. */
export interface Assigned {
  /** Bits of queues; 0 for a frame that nobody wants. */
  readonly queues: number;
  /** What RSS says of it; undefined where that is off. */
  readonly hashed: Hashed | undefined;
  /** The EtherType filter that it meets. */
  readonly etherTypeFilter: number | undefined;
  /** Of a frame that a pool sent: whether it goes out to the wire too. */
  readonly leaves: boolean;
}

const MTU = 1500;
const VLAN_TAG = 4;
/** Which bits of an address are looked up in MTA, by RCTL.MO (8.9.1). */
const HASH_SHIFTS = [4, 3, 2, 0];
const ADDRESSES = 16;
const ADDRESSES_2 = 8;
const NOBODY: Assigned = { queues: 0, hashed: undefined, etherTypeFilter: undefined, leaves: true };

/** What a port receives, and in which queues (82576 datasheet, 7.1.1 and 7.10.3). */
export class Filters {
  readonly #file: RegisterFile;
  readonly #statistics: Statistics;

  constructor(file: RegisterFile, statistics: Statistics) {
    this.#file = file;
    this.#statistics = statistics;
  }

  /** @param isLocal a pool of this port sent it, and it may be for another one */
  assign(frame: Uint8Array, parsed: Parsed, isLocal: boolean): Assigned {
    const file = this.#file;
    const tags = this.#tagsOf(frame);
    const isLong = file.has(reg.RCTL, reg.RCTL_LPE);
    if (!file.has(reg.RCTL, reg.RCTL_SBP) && isOversized(frame, tags, isLong, file.get(reg.RLPML))) return NOBODY;
    const vlan = tags === 0 ? undefined : word(frame, ETHERNET_HEADER + VLAN_TAG * (tags - 1)) & 0xfff;
    if (vlan !== undefined && !this.#passesVlan(vlan)) return NOBODY;
    const etherTypeFilter = this.#etherTypeFilter(word(frame, ETHERNET_HEADER - 2));
    if (!file.has(reg.MRQC, reg.MRQC_VMDQ)) {
      if (!this.#passesAddress(frame)) return NOBODY;
      const hash = this.#hash(frame, parsed);
      return { queues: 1 << (hash?.queue ?? 0), hashed: hash, etherTypeFilter, leaves: true };
    }
    return { ...this.#assignPools(frame, parsed, { isLocal, tags, vlan }), etherTypeFilter };
  }

  /** Tags that the frame has: CTRL_EXT says whether there are two, VET which types they have. */
  #tagsOf(frame: Uint8Array): 0 | 1 | 2 {
    const file = this.#file;
    const types = file.get(reg.VET);
    const outer = word(frame, ETHERNET_HEADER - 2);
    if (!file.has(reg.CTRL_EXT, reg.CTRL_EXT_EXTENDED_VLAN)) return outer === (types & 0xffff) ? 1 : 0;
    const inner = word(frame, ETHERNET_HEADER + 2);
    return outer === types >>> 16 && inner === (types & 0xffff) ? 2 : 0;
  }

  #passesVlan(vlan: number): boolean {
    if (!this.#file.has(reg.RCTL, reg.RCTL_VFE)) return true;
    return this.#file.has(reg.VFTA + 4 * (vlan >>> 5), 1 << (vlan & 0x1f));
  }

  #etherTypeFilter(type: number): number | undefined {
    for (let filter = 0; filter < 8; filter++) {
      const value = this.#file.get(reg.ETQF + 4 * filter);
      if (value & reg.ETQF_ENABLE && type === (value & reg.ETQF_TYPE)) return filter;
    }
    return undefined;
  }

  #passesAddress(frame: Uint8Array): boolean {
    const file = this.#file;
    const accepts = isBroadcast(frame) ? reg.RCTL_BAM : isMulticast(frame) ? reg.RCTL_MPE : reg.RCTL_UPE;
    if (file.has(reg.RCTL, accepts)) return true;
    for (const _ of this.#matching(frame)) return true;
    return this.#isHashed(frame, reg.MTA);
  }

  /** The high halves of the receive addresses that are the frame's. */
  *#matching(frame: Uint8Array): Generator<number> {
    const low = (frame[0]! | (frame[1]! << 8) | (frame[2]! << 16) | (frame[3]! << 24)) >>> 0;
    const high = frame[4]! | (frame[5]! << 8);
    for (const [first, count] of [
      [reg.RA, ADDRESSES],
      [reg.RA2, ADDRESSES_2],
    ] as const)
      for (let i = 0; i < count; i++) {
        const value = this.#file.get(first + 8 * i + 4);
        const isMatch = value & reg.RAH_AV && (value & 0xffff) === high && this.#file.get(first + 8 * i) === low;
        if (isMatch) yield value;
      }
  }

  #isHashed(frame: Uint8Array, table: number): boolean {
    const shift = HASH_SHIFTS[(this.#file.get(reg.RCTL) >>> reg.RCTL_MO_SHIFT) & 3]!;
    const bit = (((frame[5]! << 8) | frame[4]!) >>> shift) & 0xfff;
    return this.#file.has(table + 4 * (bit >>> 5), 1 << (bit & 0x1f));
  }

  #hash(frame: Uint8Array, parsed: Parsed): Hashed | undefined {
    const file = this.#file;
    const mrqc = file.get(reg.MRQC);
    if (!isEnabled(mrqc, file.get(reg.RXCSUM))) return undefined;
    const [key, table] = [file.bytes(reg.RSSRK, 40), file.bytes(reg.RETA, 128)];
    return hashed(frame, parsed, { mrqc, rfctl: file.get(reg.RFCTL), key, table });
  }

  #assignPools(
    frame: Uint8Array,
    parsed: Parsed,
    { isLocal, tags, vlan }: { isLocal: boolean; tags: number; vlan: number | undefined },
  ): Omit<Assigned, "etherTypeFilter"> {
    const file = this.#file;
    const [byAddress, leaves] = this.#poolsOfAddress(frame, isLocal);
    let pools = byAddress;
    if (file.has(reg.RCTL, reg.RCTL_VFE)) pools &= this.#poolsOfVlan(vlan);
    const control = file.get(reg.VT_CTL);
    if (pools === 0 && !isMulticast(frame) && !isLocal && !(control & reg.VT_CTL_NO_DEFAULT_POOL))
      pools = 1 << ((control >>> reg.VT_CTL_DEFAULT_POOL_SHIFT) & 7);
    pools &= file.get(reg.VFRE);
    const tooLong = this.#poolsWith(
      (value) => pools !== 0 && isOversized(frame, tags, (value & reg.VMOLR_LPE) !== 0, value & reg.VMOLR_RLPML),
    );
    if (pools !== 0 && (pools & ~tooLong) === 0) this.#statistics.oversized();
    pools &= ~tooLong;
    if (pools === 0) return { queues: 0, hashed: undefined, leaves };
    const hash = isLocal ? undefined : this.#hash(frame, parsed);
    // queue n + 8 is the pool's second one
    const second = (hash ?? NOT_HASHED).queue & 1 ? pools & this.#poolsWith((value) => value & reg.VMOLR_RSSE) : 0;
    return { queues: (pools & ~second) | (second << reg.POOLS), hashed: hash, leaves };
  }

  /** Pools by the frame's address, and whether a frame of a pool leaves the port. */
  #poolsOfAddress(frame: Uint8Array, isLocal: boolean): [pools: number, leaves: boolean] {
    if (isBroadcast(frame)) return [this.#poolsWith((value) => value & reg.VMOLR_BAM), true];
    let pools = 0;
    for (const high of this.#matching(frame)) pools |= (high >>> reg.RAH_POOL_SHIFT) & 0xff;
    if (pools !== 0) return [pools, !(isLocal && !isMulticast(frame))];
    if (this.#isHashed(frame, isMulticast(frame) ? reg.MTA : reg.UTA))
      pools = this.#poolsWith((value) => value & reg.VMOLR_ROMPE);
    return [pools, true];
  }

  #poolsOfVlan(vlan: number | undefined): number {
    if (vlan === undefined) return this.#poolsWith((value) => value & reg.VMOLR_AUPE);
    let pools = 0;
    for (let i = 0; i < 32; i++) {
      const value = this.#file.get(reg.VLVF + 4 * i);
      if (value & reg.VLVF_ENABLE && (value & 0xfff) === vlan) pools |= (value >>> reg.VLVF_POOLS_SHIFT) & 0xff;
    }
    return pools;
  }

  /** The pools of whose VMOLR something is so. */
  #poolsWith(is: (value: number) => number | boolean): number {
    let pools = 0;
    for (let pool = 0; pool < reg.POOLS; pool++) if (is(this.#file.get(reg.VMOLR + 4 * pool))) pools |= 1 << pool;
    return pools;
  }
}

/** @param isLong whether long packets are taken, up to `limit` with their checksum */
function isOversized(frame: Uint8Array, tags: number, isLong: boolean, limit: number): boolean {
  return isLong ? frame.length + FCS > limit : frame.length > ETHERNET_HEADER + VLAN_TAG * tags + MTU;
}
