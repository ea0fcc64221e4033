import { addressToPage, pageToAddress } from "../../address/pages.ts";
import { TableWord } from "../table-word.ts";
import { isRefused, type Refused, refuse } from "./access.ts";
import type { FaultReason } from "./fault-reasons.ts";
import type { HostMemory } from "./host-memory.ts";
import type { TableMemory } from "./table-memory.ts";

/** Where a guest physical address leads. */
export interface SecondLevelHit {
  /** The number of the host physical page that the page leads to. */
  readonly page: number;
  /** log2 of the bytes around it that lead to one piece of host memory with one permission: 12, 21 or 30. */
  readonly shift: number;
  readonly read: boolean;
  readonly write: boolean;
}

/**
 * The second level of translation, from guest physical to host physical addresses, with the memory behind it. A table
 * of the hardware's format is one (SecondLevelTable); a container's mappings are another, whose "host physical"
 * addresses are its IOVAs. An address is the number of a page of 4 KiB and how many bytes are before it in there.
 */
export interface SecondLevel {
  /** What is wrong with an access that a page does not allow, where it is not "secondPermission". */
  readonly denial?: FaultReason;
  /** What a page leads to; refused when it is not mapped at all. */
  translate(page: number): SecondLevelHit | Refused;
  /** Reads host memory at an address that translate() gave. False when it is no longer there: then `into` is zeros. */
  read(page: number, within: number, into: Uint8Array): boolean;
  write(page: number, within: number, from: Uint8Array): boolean;
}

const PRESENT_READ = 1n;
const PRESENT_WRITE = 2n;
const PAGE_SIZE_BIT = 1n << 7n;
const ADDRESS_MASK = 0xf_ffff_ffff_f000n;
/** Bits 52-61 are ignored, 62 is TM and 63 ignored. */
const LEVEL_BITS = 9n;

/**
 * A second-level table in host memory: 3, 4 or 5 levels, leaves of 4 KiB, 2 MiB and 1 GiB (VT-d specification,
 * "Second-Stage Paging Entries").
 */
export class SecondLevelTable implements SecondLevel {
  readonly #memory: HostMemory;
  readonly #root: bigint;
  readonly #levels: number;

  constructor(memory: HostMemory, root: bigint, levels: 3 | 4 | 5) {
    this.#memory = memory;
    this.#root = root;
    this.#levels = levels;
  }

  translate(page: number): SecondLevelHit | Refused {
    const address = pageToAddress(page);
    if (address >> (12n + LEVEL_BITS * BigInt(this.#levels)) !== 0n) return refuse("beyondSecond");
    let table = this.#root;
    let read = true;
    let write = true;
    for (let level = this.#levels; ; level--) {
      const shift = 12n + LEVEL_BITS * BigInt(level - 1);
      const entry = this.#memory.load(table + ((address >> shift) & 0x1ffn) * 8n);
      read &&= (entry & PRESENT_READ) !== 0n;
      write &&= (entry & PRESENT_WRITE) !== 0n;
      if (!read && !write) return refuse("secondPermission");
      const isLarge = level > 1 && (entry & PAGE_SIZE_BIT) !== 0n;
      const span = 1n << shift;
      if (isLarge && (level > 3 || (entry & ADDRESS_MASK & (span - 1n)) !== 0n)) return refuse("secondReserved");
      const base = entry & ADDRESS_MASK;
      if (isLarge || level === 1)
        return { page: addressToPage(base + (address & (span - 1n))), shift: Number(shift), read, write };
      table = base;
    }
  }

  read(page: number, within: number, into: Uint8Array): boolean {
    this.#memory.read(page, within, into);
    return true;
  }

  write(page: number, within: number, from: Uint8Array): boolean {
    this.#memory.write(page, within, from);
    return true;
  }

  /** Enters a page, making the tables on the way: what the host's driver does. `shift` is 12, 21 or 30. */
  map(address: bigint, host: bigint, shift: number, read: boolean, write: boolean): void {
    let table = this.#root;
    for (let level = this.#levels; ; level--) {
      const at = 12n + LEVEL_BITS * BigInt(level - 1);
      const slot = table + ((address >> at) & 0x1ffn) * 8n;
      const permission = (read ? PRESENT_READ : 0n) | (write ? PRESENT_WRITE : 0n);
      if (Number(at) === shift) {
        this.#memory.store(slot, host | permission | (level > 1 ? PAGE_SIZE_BIT : 0n));
        return;
      }
      let entry = this.#memory.load(slot);
      if ((entry & 3n) === 0n) {
        entry = this.#memory.allocatePage() | PRESENT_READ | PRESENT_WRITE;
        this.#memory.store(slot, entry);
      }
      table = entry & ADDRESS_MASK;
    }
  }

  /** Clears the entry that an address is in. The caches must be invalidated afterwards. */
  unmap(address: bigint): void {
    let table = this.#root;
    for (let level = this.#levels; level > 0; level--) {
      const slot = table + ((address >> (12n + LEVEL_BITS * BigInt(level - 1))) & 0x1ffn) * 8n;
      const entry = this.#memory.load(slot);
      if ((entry & 3n) === 0n) return;
      if (level === 1 || entry & PAGE_SIZE_BIT) {
        this.#memory.store(slot, 0n);
        return;
      }
      table = entry & ADDRESS_MASK;
    }
  }
}

/**
 * Reads a word of guest memory, through the second level: where a guest's own tables lie.
 * @param index which of the page's words
 * @returns false when it cannot be read
 */
export function loadThrough(second: SecondLevel, page: number, index: number, into: TableWord): boolean {
  const hit = second.translate(page);
  return !isRefused(hit) && hit.read && second.read(hit.page, index * 8, into.bytes);
}

/** Writes one. False when it cannot be written. */
export function storeThrough(second: SecondLevel, page: number, index: number, word: TableWord): boolean {
  const hit = second.translate(page);
  return !isRefused(hit) && hit.write && second.write(hit.page, index * 8, word.bytes);
}

/** Guest memory as tables that are looked at seldom lie in it. */
export function memoryThrough(second: SecondLevel): TableMemory {
  const word = new TableWord();
  return {
    load: (address) => (loadThrough(second, addressToPage(address), indexOf(address), word) ? word.value : undefined),
    store: (address, value) => {
      word.value = value;
      return storeThrough(second, addressToPage(address), indexOf(address), word);
    },
  };
}

/** Which word of its page is at an address. */
function indexOf(address: bigint): number {
  return Number(address & 0xfffn) >> 3;
}
