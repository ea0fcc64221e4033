import { addressToPage, pageFromHalves } from "../../address/pages.ts";
import type { FirstLevelTable } from "../proposed.ts";
import { TableWord } from "../table-word.ts";
import { type Access, type Permission, type Refused, refuse } from "./access.ts";
import type { Tag } from "./iotlb.ts";
import { loadThrough, type SecondLevel, storeThrough } from "./second-level.ts";
import type { PagingStructureCache, RememberedTable } from "./walk-cache.ts";

/** Where a walk ended. */
export interface FirstLevelHit extends Permission {
  /** The number of the physical page of 4 KiB that was asked for. */
  readonly page: number;
  /** log2 of the page's bytes: 12, 21 or 30. */
  readonly shift: number;
  /** Whether the leaf's dirty bit is set, so that writes need not come back here. */
  readonly dirty: boolean;
  /** The leaf, as the walk has left it. */
  readonly leaf: Entry;
}

/** An entry of a table: the number of the table's page, which word of it, and the two halves of the word. */
interface Entry {
  readonly table: number;
  readonly index: number;
  readonly low: number;
  readonly high: number;
}

/** An entry on the way down, with what all levels so far allow. */
interface Visited extends Entry, Permission {
  readonly level: number;
}

// Bits of the low half
const PRESENT = 1;
const WRITE = 1 << 1;
const USER = 1 << 2;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
const LARGE = 1 << 7;
const EXTENDED_ACCESSED = 1 << 10;
/** Bit 12 of a large leaf is PAT. */
const BELOW_LARGE_ADDRESS = 0x1fff;
// Bits of the high half
const NO_EXECUTE = 1 << 31;
const HIGH_ADDRESS = 0xf_ffff;

/** Pages of 4 KiB that an entry of a level covers. */
const COVERED: readonly number[] = [0, 1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36];
/** log2 of the same in bytes. */
const SHIFTS: readonly number[] = [0, 12, 21, 30, 39, 48];
const INDEX = 0x1ff;
/** The lowest level that no page is mapped at. */
const ABOVE_LARGE = 4;

/** Whether the bits above the table's width repeat its highest bit. */
export function isCanonical(page: number, levels: 4 | 5): boolean {
  const half = COVERED[levels]! * 2 ** 8;
  return page < half || page >= 2 ** 52 - half;
}

/** What is read or written: only between two steps of one access. */
const word = new TableWord();

/** Whether an access is allowed by what all levels say together (VT-d specification, "Access Rights"). */
export function checkPermission(table: FirstLevelTable, found: Permission, access: Access): Refused | undefined {
  if (!access.privileged && !found.user) return refuse("supervisorPage");
  if (access.kind === "write" && !found.write && (!access.privileged || table.writeProtect)) return refuse("noWrite");
  if (access.kind === "execute") {
    if (found.noExecute) return refuse("noExecute");
    if (access.privileged && table.smep && found.user) return refuse("noExecute");
  }
  return undefined;
}

/**
 * Walks a table of the processor's format (Intel SDM volume 3, "4-Level Paging and 5-Level Paging") and sets its
 * accessed bits, which happens only once the table is known to allow the access. Whether the page can be reached is not
 * known here, so that the dirty bit of a write is the caller's to set (markDirty). Tables where `second` does not let
 * them be read refuse the walk.
 * @param second what the table's own addresses go through
 * @param page the number of the address's page of 4 KiB
 * @param limit the number of the first page that the guest cannot have: entries that point there are refused
 * @param tag under which the cache remembers
 */
export function walkFirstLevel(
  table: FirstLevelTable,
  second: SecondLevel,
  page: number,
  access: Access,
  limit: number,
  cache: PagingStructureCache,
  tag: Tag,
): FirstLevelHit | Refused {
  if (!isCanonical(page, table.levels)) return refuse("notCanonical");
  const start = lowestRemembered(table, cache, tag, page);
  let level = start?.level ?? table.levels;
  let at = start ? start.table : addressToPage(table.root);
  let write = start?.write ?? true;
  let user = start?.user ?? true;
  let noExecute = start?.noExecute ?? false;
  const visited: Visited[] = [];
  for (; ; level--) {
    const covered = COVERED[level]!;
    const index = (page / covered) & INDEX;
    if (!loadThrough(second, at, index, word))
      return refuse(level === table.levels ? "rootUnreadable" : "tableUnreadable");
    const { low, high } = word;
    if (!(low & PRESENT)) return refuse("notPresent");
    const isLarge = level > 1 && (low & LARGE) !== 0;
    if (hasReservedBits(table, level, isLarge, low, high)) return refuse("reserved");
    write &&= (low & WRITE) !== 0;
    user &&= (low & USER) !== 0;
    noExecute ||= (high & NO_EXECUTE) !== 0;
    visited.push({ table: at, index, low, high, level, write, user, noExecute });
    const isLeaf = isLarge || level === 1;
    const frame = pageFromHalves(low, high & HIGH_ADDRESS);
    const base = isLarge ? frame - (frame & (covered - 1)) : frame;
    if (base >= limit) return refuse("beyondGuest");
    if (isLeaf) {
      const permission = { write, user, noExecute };
      const refused =
        checkPermission(table, permission, access) ?? markAccessed(table, second, visited, cache, tag, page);
      if (refused) return refused;
      return {
        page: base + (page & (covered - 1)),
        shift: SHIFTS[level]!,
        dirty: (low & DIRTY) !== 0,
        leaf: { table: at, index, low: low | accessedBits(table), high },
        write,
        user,
        noExecute,
      };
    }
    at = base;
  }
}

/** The lowest table that is remembered. */
function lowestRemembered(
  { levels }: FirstLevelTable,
  cache: PagingStructureCache,
  tag: Tag,
  page: number,
): RememberedTable | undefined {
  for (let level = 1; level < levels; level++) {
    const found = cache.find(tag, level, page);
    if (found) return found;
  }
  return undefined;
}

/**
 * PS is reserved in the two upper levels, the low address bits of a large leaf (but PAT) are, and bit 63 unless it
 * means something.
 */
function hasReservedBits(table: FirstLevelTable, level: number, isLarge: boolean, low: number, high: number): boolean {
  if (isLarge && level >= ABOVE_LARGE) return true;
  if (isLarge && (low & (2 ** SHIFTS[level]! - 1) & ~BELOW_LARGE_ADDRESS) !== 0) return true;
  return !table.noExecute && (high & NO_EXECUTE) !== 0;
}

function accessedBits(table: FirstLevelTable): number {
  return table.extendedAccessed ? ACCESSED | EXTENDED_ACCESSED : ACCESSED;
}

/** Sets accessed bits from the root down to the leaf, and remembers the tables. */
function markAccessed(
  table: FirstLevelTable,
  second: SecondLevel,
  visited: readonly Visited[],
  cache: PagingStructureCache,
  tag: Tag,
  page: number,
): Refused | undefined {
  const bits = accessedBits(table);
  for (let i = 0; i < visited.length; i++) {
    const entry = visited[i]!;
    if ((entry.low & bits) !== bits && !store(second, entry, bits)) return refuse("tableUnwritable");
    if (i < visited.length - 1) {
      const frame = pageFromHalves(entry.low, entry.high & HIGH_ADDRESS);
      cache.remember(tag, entry.level - 1, page, frame, entry);
    }
  }
  return undefined;
}

/**
 * Sets the leaf's dirty bit: for a write that every level lets through, and for no other. Refused when the table cannot
 * be written.
 */
export function markDirty({ dirty, leaf }: FirstLevelHit, second: SecondLevel): Refused | undefined {
  if (dirty || store(second, leaf, DIRTY)) return undefined;
  return refuse("tableUnwritable");
}

/** Writes an entry back with bits set. */
function store(second: SecondLevel, { table, index, low, high }: Entry, bits: number): boolean {
  word.setHalves(low | bits, high);
  return storeThrough(second, table, index, word);
}
