import { AddressFilter } from "../../gigabit/address-filter.ts";
import { ETHERNET_HEADER, FCS, isBroadcast, isMulticast, type Parsed, word } from "../../gigabit/frame.ts";
import type { RegisterFile } from "../../gigabit/register-file.ts";
import { type Hashed, hashed, NOT_HASHED } from "../../gigabit/rss.ts";
import type { Statistics } from "../../gigabit/statistics.ts";
import * as reg from "./registers.ts";

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
const ADDRESSES = 16;
const ADDRESSES_2 = 8;
/** The queue in an entry of the redirection table. */
const QUEUE = 0xf;
const NOBODY: Assigned = { queues: 0, hashed: undefined, etherTypeFilter: undefined, leaves: true };

/** What a port receives, and in which queues (82576 datasheet, 7.1.1 and 7.10.3). */
export class Filters {
  readonly #file: RegisterFile;
  readonly #statistics: Statistics;
  readonly #addresses: AddressFilter;

  constructor(file: RegisterFile, statistics: Statistics) {
    this.#file = file;
    this.#statistics = statistics;
    this.#addresses = new AddressFilter(file, [
      [reg.RA, ADDRESSES],
      [reg.RA2, ADDRESSES_2],
    ]);
  }

  /** @param isLocal a pool of this port sent it, and it may be for another one */
  assign(frame: Uint8Array, parsed: Parsed, isLocal: boolean): Assigned {
    const file = this.#file;
    const tags = this.#tagsOf(frame);
    const isLong = file.has(reg.RCTL, reg.RCTL_LPE);
    if (!file.has(reg.RCTL, reg.RCTL_SBP) && isOversized(frame, tags, isLong, file.get(reg.RLPML))) return NOBODY;
    const vlan = tags === 0 ? undefined : word(frame, ETHERNET_HEADER + VLAN_TAG * (tags - 1)) & 0xfff;
    if (vlan !== undefined && !this.#addresses.passesVlan(vlan)) return NOBODY;
    const etherTypeFilter = this.#etherTypeFilter(word(frame, ETHERNET_HEADER - 2));
    if (!file.has(reg.MRQC, reg.MRQC_VMDQ)) {
      if (!this.#addresses.passesAddress(frame)) return NOBODY;
      const hash = this.#hash(frame, parsed);
      return { queues: 1 << ((hash?.entry ?? 0) & QUEUE), hashed: hash, etherTypeFilter, leaves: true };
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

  #etherTypeFilter(type: number): number | undefined {
    for (let filter = 0; filter < 8; filter++) {
      const value = this.#file.get(reg.ETQF + 4 * filter);
      if (value & reg.ETQF_ENABLE && type === (value & reg.ETQF_TYPE)) return filter;
    }
    return undefined;
  }

  /** Where MRQC asks for hashing, and RXCSUM lets a descriptor have the hash. */
  #hash(frame: Uint8Array, parsed: Parsed): Hashed | undefined {
    const file = this.#file;
    const mrqc = file.get(reg.MRQC);
    if ((mrqc & reg.MRQC_MODE) !== reg.MRQC_RSS || !file.has(reg.RXCSUM, reg.RXCSUM_PCSD)) return undefined;
    return hashed(frame, parsed, file, mrqc);
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
    const second = (hash ?? NOT_HASHED).entry & 1 ? pools & this.#poolsWith((value) => value & reg.VMOLR_RSSE) : 0;
    return { queues: (pools & ~second) | (second << reg.POOLS), hashed: hash, leaves };
  }

  /** Pools by the frame's address, and whether a frame of a pool leaves the port. */
  #poolsOfAddress(frame: Uint8Array, isLocal: boolean): [pools: number, leaves: boolean] {
    if (isBroadcast(frame)) return [this.#poolsWith((value) => value & reg.VMOLR_BAM), true];
    let pools = 0;
    for (const high of this.#addresses.matching(frame)) pools |= (high >>> reg.RAH_POOL_SHIFT) & 0xff;
    if (pools !== 0) return [pools, !(isLocal && !isMulticast(frame))];
    if (this.#addresses.isHashed(frame, isMulticast(frame) ? reg.MTA : reg.UTA))
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
