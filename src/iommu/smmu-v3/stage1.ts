import type { Context, TableSide } from "./context.ts";
import { isRefused, type Refused, refuse } from "./events.ts";
import type { GuestTables } from "./memory.ts";

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
  /** The intermediate address of the byte that was asked for. */
  readonly address: bigint;
  /** log2 of the bytes of the page or block. */
  readonly shift: number;
  /** Valid for one address-space id alone (nG). */
  readonly isOfAsid: boolean;
  /** What the walk has to write down once it is known that the request gets through: the leaf as it is then. */
  readonly mark: { readonly slot: bigint; readonly entry: bigint } | undefined;
}

// Descriptors (Arm DDI 0487, "VMSAv8-64 translation table format descriptors")
const VALID = 1n;
const TABLE_OR_PAGE = 1n << 1n;
const AP_UNPRIVILEGED = 1n << 6n;
const AP_READ_ONLY = 1n << 7n;
const AF = 1n << 10n;
const NOT_GLOBAL = 1n << 11n;
const DBM = 1n << 51n;
const TABLE_NO_UNPRIVILEGED = 1n << 61n;
const TABLE_READ_ONLY = 1n << 62n;
const ADDRESS_48 = 0xffff_ffff_f000n;
/** Bits 51 to 48 of an address in a table of 64K pages. */
const HIGH_AT = 12n;
const HIGH = 0xfn;

const LAST_LEVEL = 3;
/** The first level that blocks may be at, by granule; 64K tables with large addresses have them at level 1 too. */
const FIRST_BLOCKS: Readonly<Record<number, number>> = { 12: 1, 14: 2, 16: 2 };

/** What tables on the way have taken away (APTable). */
interface Inherited {
  readonly readOnly: boolean;
  readonly noUnprivileged: boolean;
}

/** Which table an address belongs to, and the address without a tag; undefined for one between the two ranges. */
export function sideOf(
  { tables, ignoresTop }: Context,
  address: bigint,
): { readonly side: TableSide | undefined; readonly address: bigint } | undefined {
  const isHigh = (address >> 55n) & 1n;
  const bits = ignoresTop[isHigh ? 1 : 0] ? 56 : 64;
  const signed = BigInt.asIntN(bits, address);
  const whole = BigInt.asUintN(64, signed);
  const side = tables[isHigh ? 1 : 0];
  if (!side) return { side, address: whole };
  const above = signed >> BigInt(side.inputBits);
  return above === (isHigh ? -1n : 0n) ? { side, address: whole } : undefined;
}

/**
 * Walks a stage-1 table: 4K, 16K or 64K pages, blocks, hierarchical attributes. The contiguous hint says nothing that
 * the entries do not.
 * @param address without a tag, as sideOf() gives it
 */
export function walkStage1(
  context: Context,
  side: TableSide,
  address: bigint,
  access: Access,
  memory: GuestTables,
): Stage1Hit | Refused {
  const { granule, inputBits, isHierarchical } = side;
  const stride = granule - 3;
  const isLarge = granule === 16 && context.outputBits > 48;
  let level = LAST_LEVEL + 1 - Math.ceil((inputBits - granule) / stride);
  let table = side.base;
  let inherited: Inherited = { readOnly: false, noUnprivileged: false };
  const input = BigInt.asUintN(inputBits, address);
  for (; ; level++) {
    const shift = granule + stride * (LAST_LEVEL - level);
    const index = (input >> BigInt(shift)) & indexMask(inputBits, shift, stride);
    const slot = table + index * 8n;
    const entry = memory.load(slot, "table");
    if (isRefused(entry)) return entry;
    if ((entry & VALID) === 0n) return refuse("F_TRANSLATION");
    const isTableOrPage = (entry & TABLE_OR_PAGE) !== 0n;
    const isLeaf = level === LAST_LEVEL || !isTableOrPage;
    if (isLeaf && !mayBeLeaf(level, isTableOrPage, granule, isLarge)) return refuse("F_TRANSLATION");
    const next = outputAddress(entry, isLeaf ? shift : granule, isLarge);
    if (next >> BigInt(context.outputBits)) return refuse("F_ADDR_SIZE");
    if (isLeaf) return leaf(context, access, inherited, { slot, entry, shift, base: next, address });
    if (isHierarchical) {
      inherited = {
        readOnly: inherited.readOnly || (entry & TABLE_READ_ONLY) !== 0n,
        noUnprivileged: inherited.noUnprivileged || (entry & TABLE_NO_UNPRIVILEGED) !== 0n,
      };
    }
    table = next;
  }
}

function indexMask(inputBits: number, shift: number, stride: number): bigint {
  return (1n << BigInt(Math.min(stride, inputBits - shift))) - 1n;
}

function mayBeLeaf(level: number, isTableOrPage: boolean, granule: number, isLarge: boolean): boolean {
  if (level === LAST_LEVEL) return isTableOrPage;
  return level >= (isLarge ? 1 : FIRST_BLOCKS[granule]!);
}

function outputAddress(entry: bigint, shift: number, isLarge: boolean): bigint {
  const low = entry & ADDRESS_48 & ~((1n << BigInt(shift)) - 1n);
  return isLarge ? low | (((entry >> HIGH_AT) & HIGH) << 48n) : low;
}

interface Leaf {
  readonly slot: bigint;
  readonly entry: bigint;
  readonly shift: number;
  readonly base: bigint;
  readonly address: bigint;
}

function leaf(
  context: Context,
  access: Access,
  inherited: Inherited,
  { slot, entry, shift, base, address }: Leaf,
): Stage1Hit | Refused {
  const hasFlag = (entry & AF) !== 0n;
  const setsFlag = !hasFlag && context.setsAccessFlag;
  if (!hasFlag && !setsFlag && !context.ignoresAccessFlag) return refuse("F_ACCESS");
  const isReadOnly = (entry & AP_READ_ONLY) !== 0n;
  const canBecomeDirty = isReadOnly && !inherited.readOnly && context.setsDirty && (entry & DBM) !== 0n;
  const becomesDirty = canBecomeDirty && access.write;
  const permission: Permission = {
    write: !inherited.readOnly && (!isReadOnly || becomesDirty),
    unprivileged: (entry & AP_UNPRIVILEGED) !== 0n && !inherited.noUnprivileged,
    canBecomeDirty: canBecomeDirty && !becomesDirty,
  };
  const refused = checkPermission(context, permission, access);
  if (refused) return refused;
  const marked = (setsFlag ? entry | AF : entry) & (becomesDirty ? ~AP_READ_ONLY : ~0n);
  return {
    ...permission,
    address: base + (address & ((1n << BigInt(shift)) - 1n)),
    shift,
    isOfAsid: (entry & NOT_GLOBAL) !== 0n,
    mark: marked === entry ? undefined : { slot, entry: marked },
  };
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
