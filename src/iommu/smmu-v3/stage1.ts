import { PAGE_SHIFT, pageFromHalves } from "../../address/pages.ts";
import { TableWord } from "../table-word.ts";
import type { Context, TableSide } from "./context.ts";
import { type Refused, refuse } from "./events.ts";
import type { SecondStage } from "./memory.ts";

/** What a request wants of an address. */
export interface Access {
  readonly write: boolean;
  readonly privileged: boolean;
}

/** What a page allows. */
export interface Permission {
  readonly write: boolean;
  /** Requests without privilege may use it. */
  readonly unprivileged: boolean;
  /** A write makes it writable: the tables have to be walked again then (DBM). */
  readonly canBecomeDirty: boolean;
}

/** Where a walk ended. */
export interface Stage1Hit extends Permission {
  /** The number of the page of 4 KiB of intermediate addresses that was asked for. */
  readonly page: number;
  /** log2 of the bytes of the page or block. */
  readonly shift: number;
  /** Valid for one address-space id alone (nG). */
  readonly isOfAsid: boolean;
  /** What the walk has to write down once it is known that the request gets through: the leaf as it is then. */
  readonly mark: Entry | undefined;
}

/** An entry of a table: the number of the page of 4 KiB that it is in, which word of it, and the word's halves. */
interface Entry {
  readonly table: number;
  readonly index: number;
  readonly low: number;
  readonly high: number;
}

// Descriptors (Arm DDI 0487, "VMSAv8-64 translation table format descriptors"), bits of the low half
const VALID = 1;
const TABLE_OR_PAGE = 1 << 1;
const AP_UNPRIVILEGED = 1 << 6;
const AP_READ_ONLY = 1 << 7;
const AF = 1 << 10;
const NOT_GLOBAL = 1 << 11;
/** Bits 51 to 48 of an address in a table of 64K pages. */
const TOP_AT = 12;
const TOP = 0xf;
// Bits of the high half
const HIGH_ADDRESS = 0xffff;
const DBM = 1 << 19;
const TABLE_NO_UNPRIVILEGED = 1 << 29;
const TABLE_READ_ONLY = 1 << 30;

/** Words of a page of 4 KiB. */
const WORDS_SHIFT = 9;
const WORD = 0x1ff;

// Pages of 4 KiB of 64-bit addresses: all, those of addresses without the highest byte, and the lower half of these.
const PAGES = 2 ** 52;
const PAGES_BELOW_TAG = 2 ** 44;
const LOWER_PAGES = 2 ** 43;
/** By bits of address. */
const PAGES_IN: readonly number[] = Array.from({ length: 53 }, (_, bits) => 2 ** (bits - PAGE_SHIFT));

const LAST_LEVEL = 3;
/** The first level that blocks may be at, by granule; 64K tables with large addresses have them at level 1 too. */
const FIRST_BLOCKS: Readonly<Record<number, number>> = { 12: 1, 14: 2, 16: 2 };

/** What is read: only between two steps of one access. */
const word = new TableWord();

/** Whether an address is of the second table: its bit 55. */
export function isHigh(page: number): boolean {
  return Math.floor(page / LOWER_PAGES) % 2 === 1;
}

/** An address without a tag, where the context ignores one. */
export function withoutTag({ ignoresTop }: Context, page: number): number {
  if (!ignoresTop[isHigh(page) ? 1 : 0]) return page;
  const below = page % PAGES_BELOW_TAG;
  return isHigh(page) ? PAGES - PAGES_BELOW_TAG + below : below;
}

/** Which table an address without a tag belongs to; undefined for none, and for one between the two ranges. */
export function sideOf({ tables }: Context, page: number): TableSide | undefined {
  const side = tables[isHigh(page) ? 1 : 0];
  if (!side) return undefined;
  const pages = PAGES_IN[side.inputBits]!;
  return isHigh(page) ? (page >= PAGES - pages ? side : undefined) : page < pages ? side : undefined;
}

/**
 * Walks a stage-1 table: 4K, 16K or 64K pages, blocks, hierarchical attributes. The contiguous hint says nothing that
 * the entries do not.
 * @param page the number of the address's page of 4 KiB, without a tag
 */
export function walkStage1(
  context: Context,
  side: TableSide,
  page: number,
  access: Access,
  second: SecondStage,
): Stage1Hit | Refused {
  const { granule, inputBits, isHierarchical } = side;
  const stride = granule - 3;
  const isLarge = granule === 16 && context.outputBits > 48;
  const limit = PAGES_IN[context.outputBits]!;
  let level = LAST_LEVEL + 1 - Math.ceil((inputBits - granule) / stride);
  let table = side.page;
  // only the first table may begin within a page
  let first = side.word;
  // what tables on the way have taken away (APTable)
  let isReadOnly = false;
  let isPrivileged = false;
  for (; ; level++) {
    const shift = granule + stride * (LAST_LEVEL - level);
    const at = first + ((page / PAGES_IN[shift]!) & indexMask(inputBits, shift, stride));
    const slot = table + (at >> WORDS_SHIFT);
    const refused = second.loadWord(slot, at & WORD, word, "table");
    if (refused) return refused;
    const { low, high } = word;
    if (!(low & VALID)) return refuse("F_TRANSLATION");
    const isTableOrPage = (low & TABLE_OR_PAGE) !== 0;
    const isLeaf = level === LAST_LEVEL || !isTableOrPage;
    if (isLeaf && !mayBeLeaf(level, isTableOrPage, granule, isLarge)) return refuse("F_TRANSLATION");
    const next = outputPage(low, high, isLeaf ? shift : granule, isLarge);
    if (next >= limit) return refuse("F_ADDR_SIZE");
    if (isLeaf) {
      const entry = { table: slot, index: at & WORD, low, high };
      return leaf(
        context,
        access,
        isReadOnly,
        isPrivileged,
        entry,
        shift,
        next + (page & ((1 << (shift - PAGE_SHIFT)) - 1)),
      );
    }
    if (isHierarchical) {
      isReadOnly ||= (high & TABLE_READ_ONLY) !== 0;
      isPrivileged ||= (high & TABLE_NO_UNPRIVILEGED) !== 0;
    }
    table = next;
    first = 0;
  }
}

function indexMask(inputBits: number, shift: number, stride: number): number {
  return (1 << Math.min(stride, inputBits - shift)) - 1;
}

function mayBeLeaf(level: number, isTableOrPage: boolean, granule: number, isLarge: boolean): boolean {
  if (level === LAST_LEVEL) return isTableOrPage;
  return level >= (isLarge ? 1 : FIRST_BLOCKS[granule]!);
}

function outputPage(low: number, high: number, shift: number, isLarge: boolean): number {
  const page = pageFromHalves(low, high & HIGH_ADDRESS);
  // of a number of more than 32 bits these are its lowest: no block is of so many pages
  const whole = page - (page & ((1 << (shift - PAGE_SHIFT)) - 1));
  return isLarge ? whole + ((low >>> TOP_AT) & TOP) * PAGES_IN[48]! : whole;
}

/**
 * What a leaf makes of an access.
 * @param page that it leads to
 */
function leaf(
  context: Context,
  access: Access,
  tablesReadOnly: boolean,
  tablesPrivileged: boolean,
  entry: Entry,
  shift: number,
  page: number,
): Stage1Hit | Refused {
  const { low, high } = entry;
  const hasFlag = (low & AF) !== 0;
  const setsFlag = !hasFlag && context.setsAccessFlag;
  if (!hasFlag && !setsFlag && !context.ignoresAccessFlag) return refuse("F_ACCESS");
  const isReadOnly = (low & AP_READ_ONLY) !== 0;
  const canBecomeDirty = isReadOnly && !tablesReadOnly && context.setsDirty && (high & DBM) !== 0;
  const becomesDirty = canBecomeDirty && access.write;
  const marked = (setsFlag ? low | AF : low) & (becomesDirty ? ~AP_READ_ONLY : ~0);
  const hit: Stage1Hit = {
    write: !tablesReadOnly && (!isReadOnly || becomesDirty),
    unprivileged: (low & AP_UNPRIVILEGED) !== 0 && !tablesPrivileged,
    canBecomeDirty: canBecomeDirty && !becomesDirty,
    page,
    shift,
    isOfAsid: (low & NOT_GLOBAL) !== 0,
    mark: marked === low ? undefined : { ...entry, low: marked },
  };
  return checkPermission(context, hit, access) ?? hit;
}

/** Whether a page allows an access. */
export function checkPermission(
  { keepsPrivilegedOut }: Context,
  { write, unprivileged }: Permission,
  access: Access,
): Refused | undefined {
  const isAllowed = access.privileged ? !(keepsPrivilegedOut && unprivileged) : unprivileged;
  if (!isAllowed || (access.write && !write)) return refuse("F_PERMISSION");
  return undefined;
}
