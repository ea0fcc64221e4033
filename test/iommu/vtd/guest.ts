import type { FirstLevelTable } from "../../../src/iommu/proposed.ts";
import type { Access } from "../../../src/iommu/vtd/access.ts";
import type { FaultReason } from "../../../src/iommu/vtd/fault-reasons.ts";

export const PAGE = 4096;

/** A small repeatable generator for the random tests. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(limit: number): number {
    this.#state = (this.#state * 1664525 + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** Memory of the guest as plain words, and which of its pages the second level maps. */
export class GuestPages {
  readonly words = new Map<bigint, bigint>();
  readonly second = new Map<bigint, { host: bigint; read: boolean; write: boolean }>();

  /** A gigabyte of the guest that the second level maps with one entry: where, and where to. */
  readonly large = { guest: 0x4000_0000n, host: 0x8000_0000n };

  load(address: bigint): bigint {
    return this.words.get(address) ?? 0n;
  }

  /** The page of the host that a page of the guest is, by its number. */
  hostPage(page: bigint): { host: bigint; read: boolean; write: boolean } | undefined {
    const within = page * 4096n - this.large.guest;
    if (within >= 0n && within < 0x4000_0000n) return { host: this.large.host + within, read: true, write: true };
    return this.second.get(page);
  }
}

/** With a fault: what the table's entries are by then. */
export type Outcome =
  | { fault: FaultReason; marks?: ReadonlyMap<bigint, bigint> }
  | { address: bigint; marks: ReadonlyMap<bigint, bigint> };

/**
 * The nested walk written down as straightforwardly as possible: what the processor's manual says, level by level, with whole-table arithmetic
 * instead of masks. The judge of the real one.
 */
export function referenceWalk(guest: GuestPages, table: FirstLevelTable, address: bigint, access: Access): Outcome {
  const top = table.levels === 5 ? 57 : 48;
  const sign = (address >> BigInt(top - 1)) & 1n;
  for (let bit = top; bit < 64; bit++) if (((address >> BigInt(bit)) & 1n) !== sign) return { fault: "notCanonical" };
  const path: { slot: bigint; entry: bigint }[] = [];
  let at = table.root;
  let leaf: { base: bigint; size: bigint } | undefined;
  for (let level: number = table.levels; !leaf; level--) {
    const size = 4096n * 512n ** BigInt(level - 1);
    const slot = at + ((BigInt.asUintN(top, address) / size) % 512n) * 8n;
    const page = guest.hostPage(slot / 4096n);
    if (!page?.read) return { fault: level === table.levels ? "rootUnreadable" : "tableUnreadable" };
    const entry = guest.load(slot);
    const bit = (n: number) => ((entry >> BigInt(n)) & 1n) === 1n;
    if (!bit(0)) return { fault: "notPresent" };
    if (bit(7) && level >= 4) return { fault: "reserved" };
    const isLeaf = level === 1 || bit(7);
    for (let n = 13; isLeaf && level > 1 && 2n ** BigInt(n) < size; n++) if (bit(n)) return { fault: "reserved" };
    if (bit(63) && !table.noExecute) return { fault: "reserved" };
    path.push({ slot, entry });
    const frame = ((entry / 4096n) % 2n ** 40n) * 4096n;
    if (isLeaf) leaf = { base: frame - (frame % size), size };
    else at = frame;
  }
  const every = (n: number) => path.every(({ entry }) => ((entry >> BigInt(n)) & 1n) === 1n);
  const some = (n: number) => path.some(({ entry }) => ((entry >> BigInt(n)) & 1n) === 1n);
  if (!access.privileged && !every(2)) return { fault: "supervisorPage" };
  if (access.kind === "write" && !every(1) && (!access.privileged || table.writeProtect)) return { fault: "noWrite" };
  if (access.kind === "execute" && some(63)) return { fault: "noExecute" };
  if (access.kind === "execute" && access.privileged && table.smep && every(2)) return { fault: "noExecute" };

  const marks = new Map<bigint, bigint>();
  for (const { slot, entry } of path) {
    let marked = entry | 0x20n;
    if (table.extendedAccessed) marked |= 0x400n;
    if (marked === entry) continue;
    if (!guest.hostPage(slot / 4096n)!.write) return { fault: "tableUnwritable", marks };
    marks.set(slot, marked);
  }
  const physical = leaf.base + (BigInt.asUintN(top, address) % leaf.size);
  const page = guest.hostPage(physical / 4096n);
  if (!page || (access.kind === "write" ? !page.write : !page.read)) return { fault: "secondPermission", marks };
  // only now is it known that the write gets through
  const { slot, entry } = path.at(-1)!;
  if (access.kind === "write" && !(entry & 0x40n)) {
    if (!guest.hostPage(slot / 4096n)!.write) return { fault: "tableUnwritable", marks };
    marks.set(slot, (marks.get(slot) ?? entry) | 0x40n);
  }
  return { address: page.host + (physical % 4096n), marks };
}
