import { EvictingMap, VictimChooser } from "../evicting-map.ts";
import type { Permission } from "./stage1.ts";

/** A page's translation by both stages. */
export interface Translation extends Permission {
  /** Undefined for a global page, which is valid for every address-space id. */
  readonly asid: number | undefined;
  /** First address of the page, before translation. */
  readonly page: bigint;
  /** log2 of its bytes. */
  readonly shift: number;
  /** Intermediate address of its first byte. */
  readonly intermediate: bigint;
  /** What the second stage allows. */
  readonly secondRead: boolean;
  readonly secondWrite: boolean;
}

/** A range of input addresses. */
export interface AddressRange {
  readonly start: bigint;
  readonly bytes: bigint;
}

const CAPACITY = 1024;
/** A range of so many bytes is looked up page by page; for a larger one all entries are looked at. */
const SMALL_RANGE = 64n * 4096n;
/** No page is smaller. */
const SMALLEST_SHIFT = 12;

/**
 * What an SMMU remembers of one guest, that is under one VMID: translations of all of its streams, by address-space id
 * and address. A translation answers until it is invalidated, or makes room for another one.
 */
export class Tlb {
  readonly #entries = new EvictingMap<Translation>(CAPACITY, new VictimChooser(1));
  /** Sizes that have occurred since it was empty: no others are looked for. */
  readonly #sizes = new Set<number>();

  get size(): number {
    return this.#entries.size;
  }

  find(asid: number, address: bigint): Translation | undefined {
    for (const shift of this.#sizes) {
      const found =
        this.#entries.peek(keyOf(asid, address, shift)) ?? this.#entries.peek(keyOf(undefined, address, shift));
      if (found) return found;
    }
    return undefined;
  }

  remember(found: Translation): void {
    this.#entries.set(keyOf(found.asid, found.page, found.shift), found);
    this.#sizes.add(found.shift);
  }

  /** All of the guest's. */
  clear(): void {
    this.#invalidate(() => true);
  }

  /** All of one address-space id, without global pages. */
  clearAsid(asid: number): void {
    this.#invalidate((entry) => entry.asid === asid);
  }

  /**
   * What a range of addresses touches.
   * @param asid undefined for all
   */
  clearRange(asid: number | undefined, range: AddressRange): void {
    if (this.#entries.size === 0) return;
    if (asid !== undefined && range.bytes <= SMALL_RANGE) {
      this.#remove(asid, range);
      return;
    }
    this.#invalidate(
      (entry) => (asid === undefined || entry.asid === undefined || entry.asid === asid) && overlaps(entry, range),
    );
  }

  /** Pages of every size that a range touches, of an address space and of all. */
  #remove(asid: number, { start, bytes }: AddressRange): void {
    for (const shift of this.#sizes) {
      const step = 1n << BigInt(shift);
      for (let page = start - (start % step); page < start + bytes; page += step) {
        this.#entries.remove(keyOf(asid, page, shift));
        this.#entries.remove(keyOf(undefined, page, shift));
      }
    }
  }

  #invalidate(matches: (entry: Translation) => boolean): void {
    this.#entries.invalidate(matches);
    if (this.#entries.size === 0) this.#sizes.clear();
  }
}

function overlaps({ page, shift }: Translation, { start, bytes }: AddressRange): boolean {
  return page < start + bytes && start < page + (1n << BigInt(shift));
}

/** Of a translation among all of a guest. */
function keyOf(asid: number | undefined, address: bigint, shift: number): string {
  return `${asid ?? "g"}.${shift - SMALLEST_SHIFT}.${(address >> BigInt(shift)).toString(36)}`;
}
