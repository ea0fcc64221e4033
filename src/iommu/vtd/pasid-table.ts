import { isRefused, type Refused, refuse } from "./access.ts";
import type { HostMemory } from "./host-memory.ts";
import { decodeEntry, ENTRY_BYTES, ENTRY_WORDS, encodeEntry, type PasidEntry } from "./pasid-entry.ts";
import type { TableMemory } from "./table-memory.ts";

/** A directory entry covers this many PASIDs: one page of table entries. */
const PASIDS_PER_TABLE = 64;
/** Of one page of the directory. */
const DIRECTORY_ENTRIES = 512;
const PRESENT = 1n;
const ADDRESS = 0xffff_ffff_ffff_f000n;
/** Bits 2-11 of a directory entry; bit 1 is "fault processing disable". */
const DIRECTORY_RESERVED = 0xffcn;

/**
 * Looks a PASID up as the hardware does: the directory by bits 6-19, then the table by bits 0-5 (VT-d specification,
 * "Scalable-Mode PASID Directory Entry").
 * @param directory address of the directory in `memory`
 * @param bits how many bits of PASID the table has: the PDTS field of the context entry
 */
export function findEntry(memory: TableMemory, directory: bigint, bits: number, pasid: number): PasidEntry | Refused {
  if (pasid >= 2 ** bits) return refuse("pasidTooLarge");
  const at = directory + BigInt(Math.floor(pasid / PASIDS_PER_TABLE)) * 8n;
  const word = memory.load(at);
  if (word === undefined) return refuse("directoryUnreachable");
  if (!(word & PRESENT)) return refuse("directoryNotPresent");
  if (word & DIRECTORY_RESERVED) return refuse("directoryReserved");
  const entry = (word & ADDRESS) + BigInt((pasid % PASIDS_PER_TABLE) * ENTRY_BYTES);
  const words: bigint[] = [];
  for (let i = 0; i < ENTRY_WORDS; i++) {
    const value = memory.load(entry + BigInt(i * 8));
    if (value === undefined) return refuse("entryUnreachable");
    words.push(value);
  }
  return decodeEntry(words);
}

/** A page of table entries. */
interface TablePage {
  readonly address: bigint;
  /** Entries in it that are set. */
  used: number;
}

/**
 * The PASID table of one device as the host's driver keeps it, in host memory. Whoever changes it invalidates the PASID
 * cache. A page that becomes empty is given back.
 */
export class HostPasidTable {
  readonly #memory: HostMemory;
  readonly directory: bigint;
  readonly bits: number;
  readonly #pages = new Map<number, TablePage>();
  /** Pages that each page of the directory leads to. */
  readonly #used: number[];

  constructor(memory: HostMemory, bits: number) {
    this.#memory = memory;
    this.bits = bits;
    const pages = Math.ceil(2 ** bits / PASIDS_PER_TABLE / DIRECTORY_ENTRIES);
    this.#used = new Array<number>(pages).fill(0);
    this.directory = memory.allocatePages(pages);
  }

  /** What is entered for a PASID; undefined when nothing is. */
  get(pasid: number): PasidEntry | undefined {
    const entry = findEntry(this.#memory, this.directory, this.bits, pasid);
    return isRefused(entry) ? undefined : entry;
  }

  set(pasid: number, entry: PasidEntry): void {
    const index = Math.floor(pasid / PASIDS_PER_TABLE);
    let page = this.#pages.get(index);
    if (page === undefined) {
      page = { address: this.#memory.allocatePage(), used: 0 };
      this.#pages.set(index, page);
      this.#memory.store(this.directory + BigInt(index * 8), page.address | PRESENT);
      this.#used[Math.floor(index / DIRECTORY_ENTRIES)]!++;
    }
    if (!this.#isSet(page, pasid)) page.used++;
    this.#write(page, pasid, encodeEntry(entry));
  }

  clear(pasid: number): void {
    const index = Math.floor(pasid / PASIDS_PER_TABLE);
    const page = this.#pages.get(index);
    if (!page || !this.#isSet(page, pasid)) return;
    this.#write(page, pasid, new Array<bigint>(ENTRY_WORDS).fill(0n));
    if (--page.used > 0) return;
    this.#pages.delete(index);
    this.#memory.freePage(page.address);
    this.#memory.store(this.directory + BigInt(index * 8), 0n);
    const part = Math.floor(index / DIRECTORY_ENTRIES);
    if (--this.#used[part]! === 0) this.#memory.freePage(this.directory + BigInt(part * 4096));
  }

  free(): void {
    for (const part of this.#used.keys()) this.#memory.freePage(this.directory + BigInt(part * 4096));
    for (const { address } of this.#pages.values()) this.#memory.freePage(address);
  }

  #isSet(page: TablePage, pasid: number): boolean {
    return (this.#memory.load(page.address + BigInt((pasid % PASIDS_PER_TABLE) * ENTRY_BYTES)) & PRESENT) !== 0n;
  }

  #write(page: TablePage, pasid: number, words: readonly bigint[]): void {
    const at = page.address + BigInt((pasid % PASIDS_PER_TABLE) * ENTRY_BYTES);
    for (const [i, word] of words.entries()) this.#memory.store(at + BigInt(i * 8), word);
  }
}
