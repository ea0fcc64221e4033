import type { FirstLevelTable } from "../proposed.ts";
import { type Access, type Refused, refuse } from "./access.ts";
import type { TableMemory } from "./table-memory.ts";

/** What the entries down to some level allow together. */
export interface Permission {
  readonly write: boolean;
  readonly user: boolean;
  readonly noExecute: boolean;
}

/** Where a walk ended. */
export interface FirstLevelHit extends Permission {
  /** The physical address of the byte that was asked for. */
  readonly address: bigint;
  /** log2 of the page's bytes: 12, 21 or 30. */
  readonly shift: number;
  /** Whether the leaf's dirty bit is set, so that writes need not come back here. */
  readonly dirty: boolean;
  /** The leaf, as the walk has left it. */
  readonly leaf: { readonly slot: bigint; readonly entry: bigint };
}

/** What is remembered of the upper levels (paging-structure caches). */
export interface WalkCache {
  /** The table of `level` that the walk of an address gets to. */
  find(level: number, address: bigint): (Permission & { readonly table: bigint }) | undefined;
  remember(level: number, address: bigint, found: Permission & { readonly table: bigint }): void;
}

const PRESENT = 1n;
const WRITE = 1n << 1n;
const USER = 1n << 2n;
const ACCESSED = 1n << 5n;
const DIRTY = 1n << 6n;
const LARGE = 1n << 7n;
const EXTENDED_ACCESSED = 1n << 10n;
const NO_EXECUTE = 1n << 63n;
const ADDRESS_MASK = 0xf_ffff_ffff_f000n;

/** An entry on the way down, with what all levels so far allow. */
interface Visited {
  readonly slot: bigint;
  readonly entry: bigint;
  readonly level: number;
  readonly permission: Permission;
}

const ALL: Permission = { write: true, user: true, noExecute: false };

/** Whether the bits above the table's width repeat its highest bit. */
export function isCanonical(address: bigint, levels: 4 | 5): boolean {
  const bits = levels === 5 ? 57 : 48;
  return BigInt.asUintN(64, BigInt.asIntN(bits, address)) === address;
}

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
 * known here, so that the dirty bit of a write is the caller's to set (markDirty). Tables at addresses that `memory`
 * cannot load refuse the walk.
 * @param limit the first address that the guest cannot have: entries that point there are refused
 */
export function walkFirstLevel(
  table: FirstLevelTable,
  memory: TableMemory,
  address: bigint,
  access: Access,
  limit: bigint,
  cache?: WalkCache,
): FirstLevelHit | Refused {
  if (!isCanonical(address, table.levels)) return refuse("notCanonical");
  const visited: Visited[] = [];
  let { at, level, permission } = start(table, address, cache);
  for (; ; level--) {
    const shift = 12n + 9n * BigInt(level - 1);
    const slot = at + ((address >> shift) & 0x1ffn) * 8n;
    const entry = memory.load(slot);
    if (entry === undefined) return refuse(level === table.levels ? "rootUnreadable" : "tableUnreadable");
    if (!(entry & PRESENT)) return refuse("notPresent");
    const isLarge = level > 1 && (entry & LARGE) !== 0n;
    if (hasReservedBits(table, entry, level, isLarge, shift)) return refuse("reserved");
    permission = {
      write: permission.write && (entry & WRITE) !== 0n,
      user: permission.user && (entry & USER) !== 0n,
      noExecute: permission.noExecute || (entry & NO_EXECUTE) !== 0n,
    };
    visited.push({ slot, entry, level, permission });
    const isLeaf = isLarge || level === 1;
    const span = 1n << shift;
    // bit 12 of a large leaf is PAT
    const base = entry & ADDRESS_MASK & (isLeaf ? ~(span - 1n) : ADDRESS_MASK);
    if (base >= limit) return refuse("beyondGuest");
    if (isLeaf) {
      const refused =
        checkPermission(table, permission, access) ?? markAccessed(table, memory, visited, cache, address);
      if (refused) return refused;
      return {
        address: base + (address & (span - 1n)),
        shift: Number(shift),
        dirty: (entry & DIRTY) !== 0n,
        leaf: { slot, entry: entry | accessedBits(table) },
        ...permission,
      };
    }
    at = base;
  }
}

/** The lowest table that is remembered, else the root. */
function start(
  table: FirstLevelTable,
  address: bigint,
  cache: WalkCache | undefined,
): { at: bigint; level: number; permission: Permission } {
  for (let level = 1; cache && level < table.levels; level++) {
    const found = cache.find(level, address);
    if (found) return { at: found.table, level, permission: found };
  }
  return { at: table.root, level: table.levels, permission: ALL };
}

/**
 * PS is reserved in the two upper levels, the low address bits of a large leaf (but PAT) are, and bit 63 unless it
 * means something.
 */
function hasReservedBits(
  table: FirstLevelTable,
  entry: bigint,
  level: number,
  isLarge: boolean,
  shift: bigint,
): boolean {
  if (isLarge && level > 3) return true;
  if (isLarge && (entry & ((1n << shift) - 1n) & ~0x1fffn) !== 0n) return true;
  return !table.noExecute && (entry & NO_EXECUTE) !== 0n;
}

function accessedBits(table: FirstLevelTable): bigint {
  return ACCESSED | (table.extendedAccessed ? EXTENDED_ACCESSED : 0n);
}

/** Sets accessed bits from the root down to the leaf, and remembers the tables. */
function markAccessed(
  table: FirstLevelTable,
  memory: TableMemory,
  visited: readonly Visited[],
  cache: WalkCache | undefined,
  address: bigint,
): Refused | undefined {
  for (const [i, { slot, entry, level, permission }] of visited.entries()) {
    const wanted = entry | accessedBits(table);
    if (wanted !== entry && !memory.store(slot, wanted)) return refuse("tableUnwritable");
    const isLeaf = i === visited.length - 1;
    if (!isLeaf) cache?.remember(level - 1, address, { table: entry & ADDRESS_MASK, ...permission });
  }
  return undefined;
}

/**
 * Sets the leaf's dirty bit: for a write that every level lets through, and for no other. Refused when the table cannot
 * be written.
 */
export function markDirty({ dirty, leaf }: FirstLevelHit, memory: TableMemory): Refused | undefined {
  if (dirty || memory.store(leaf.slot, leaf.entry | DIRTY)) return undefined;
  return refuse("tableUnwritable");
}
