import { addressToPage } from "../../address/pages.ts";
import { isRefused, type Refused, refuse } from "./events.ts";
import type { ContextMemory } from "./memory.ts";
import { addressBitsOf, type SmmuFeatures } from "./registers.ts";
import type { StreamEntry } from "./stream-entry.ts";

/** One of the two tables of a context descriptor. */
export interface TableSide {
  /** Where the first table is: the number of a page of 4 KiB of intermediate addresses, and which of its words. */
  readonly page: number;
  readonly word: number;
  /** Bits of the addresses that it translates. */
  readonly inputBits: number;
  /** log2 of a page's bytes: 12, 14 or 16. */
  readonly granule: number;
  /** Attributes of tables count for what is below (HAD is 0). */
  readonly isHierarchical: boolean;
}

/** A context descriptor that a request uses (Arm IHI 0070, "Context Descriptor"). */
export interface Context {
  readonly asid: number;
  /** For addresses that begin with zeros, and with ones; undefined where it is disabled (EPD). */
  readonly tables: readonly [TableSide | undefined, TableSide | undefined];
  /** The highest byte of such addresses is not looked at (TBI). */
  readonly ignoresTop: readonly [boolean, boolean];
  /** Bits of intermediate addresses, at most those of the SMMU (IPS). */
  readonly outputBits: number;
  /** A page without access flag may be used (AFFD). */
  readonly ignoresAccessFlag: boolean;
  /** Hardware sets access flags, and writes down that pages are dirty. */
  readonly setsAccessFlag: boolean;
  readonly setsDirty: boolean;
  /** Privileged requests cannot use pages that others can (PAN). */
  readonly keepsPrivilegedOut: boolean;
  /** Faults are recorded (R). */
  readonly records: boolean;
}

const WORDS = 8;
const BYTES = WORDS * 8;
/** Leaves of two-level tables have 64 or 1024 descriptors, by S1Fmt. */
const LEAF_BITS: Readonly<Record<number, number>> = { 1: 6, 2: 10 };
const LEVEL_1_VALID = 1n;
const LEVEL_1_POINTER = 0xf_ffff_ffff_f000n;

/** S1DSS */
const TERMINATE = 0;
const BYPASS = 1;
const USE_SUBSTREAM_0 = 2;

/** What a request without stage 1 is: S1DSS lets those without a substream around it. */
export type ChosenContext = "bypass" | { readonly substream: number; readonly at: bigint };

/**
 * Where the context descriptor of a request is.
 * @param substream undefined for a request without one
 */
export function findContext(
  entry: StreamEntry,
  substream: number | undefined,
  memory: ContextMemory,
): ChosenContext | Refused {
  const { contexts, format, substreamBits, withoutSubstream } = entry;
  if (substreamBits === 0) {
    return substream === undefined ? { substream: 0, at: contexts } : refuse("C_BAD_SUBSTREAMID");
  }
  if (substream === undefined) {
    if (withoutSubstream === TERMINATE) return refuse("F_STREAM_DISABLED");
    if (withoutSubstream === BYPASS) return "bypass";
    if (withoutSubstream !== USE_SUBSTREAM_0) return refuse("C_BAD_STE");
  } else if (substream >= 2 ** substreamBits) {
    return refuse("C_BAD_SUBSTREAMID");
  } else if (substream === 0 && withoutSubstream === USE_SUBSTREAM_0) {
    return refuse("F_STREAM_DISABLED");
  }
  const index = substream ?? 0;
  const leafBits = LEAF_BITS[format];
  if (leafBits === undefined) return { substream: index, at: contexts + BigInt(index * BYTES) };
  const pointer = memory.load(contexts + BigInt((index >>> leafBits) * 8));
  if (isRefused(pointer)) return pointer;
  if ((pointer & LEVEL_1_VALID) === 0n) return refuse("C_BAD_SUBSTREAMID");
  const within = index & ((1 << leafBits) - 1);
  return { substream: index, at: (pointer & LEVEL_1_POINTER) + BigInt(within * BYTES) };
}

/** Reads the descriptor at an address. */
export function readContext(at: bigint, memory: ContextMemory, features: SmmuFeatures): Context | Refused {
  const words: bigint[] = [];
  for (let word = 0; word < WORDS; word++) {
    const value = memory.load(at + BigInt(word * 8));
    if (isRefused(value)) return value;
    words.push(value);
  }
  return parseContext(words, features) ?? refuse("C_BAD_CD");
}

// Word 0
const ENDI = 1n << 15n;
const V = 1n << 31n;
const IPS_AT = 32n;
const AFFD = 1n << 35n;
const TBI_0 = 1n << 38n;
const TBI_1 = 1n << 39n;
const PAN = 1n << 40n;
const AA64 = 1n << 41n;
const HD = 1n << 42n;
const HA = 1n << 43n;
const S = 1n << 44n;
const R = 1n << 45n;
const A = 1n << 46n;
const ASID_AT = 48n;
/** Of each side: where its fields are, and which granule a code means. */
const SIDES = [
  { at: 0n, disabled: 1n << 14n, granules: [12, 16, 14, undefined] },
  { at: 16n, disabled: 1n << 30n, granules: [undefined, 14, 12, 16] },
] as const;
const SIZE = 0x3fn;
const GRANULE_AT = 6n;
// Words 1 and 2
const HAD = 1n << 1n;
const BASE = 0xf_ffff_ffff_fff0n;

/** Undefined for a descriptor that is invalid or asks for what the SMMU has not. */
export function parseContext(words: readonly bigint[], features: SmmuFeatures): Context | undefined {
  const [word = 0n] = words;
  const has = (bit: bigint) => (word & bit) !== 0n;
  if (!has(V) || !has(AA64) || has(ENDI)) return undefined;
  if (!has(A) && features.onlyAborts) return undefined;
  if (has(S) && !features.stalls) return undefined;
  if (has(HA) && features.httu < 1) return undefined;
  if (has(HD) && (features.httu < 2 || !has(HA))) return undefined;
  const code = addressBitsOf(Number((word >> IPS_AT) & 7n)) ?? features.outputBits;
  const outputBits = Math.min(code, features.outputBits);
  const sides: (TableSide | undefined)[] = [];
  for (const [index, { at, disabled, granules }] of SIDES.entries()) {
    if (has(disabled)) {
      sides.push(undefined);
      continue;
    }
    const granule = granules[Number((word >> (at + GRANULE_AT)) & 3n)];
    const inputBits = 64 - Number((word >> at) & SIZE);
    const base = (words[index + 1] ?? 0n) & BASE;
    if (granule === undefined || !features.granules.has(granule)) return undefined;
    if (!isInputSize(inputBits, granule, features) || base >> BigInt(outputBits)) return undefined;
    const isHierarchical = !(features.hierarchyDisable && (words[index + 1] ?? 0n) & HAD);
    sides.push({ page: addressToPage(base), word: Number(base & 0xfffn) >> 3, inputBits, granule, isHierarchical });
  }
  return {
    asid: Number(word >> ASID_AT),
    tables: [sides[0], sides[1]],
    ignoresTop: [has(TBI_0), has(TBI_1)],
    outputBits,
    ignoresAccessFlag: has(AFFD),
    setsAccessFlag: has(HA),
    setsDirty: has(HD),
    keepsPrivilegedOut: has(PAN),
    records: has(R),
  };
}

/** Input ranges have 25 to 48 bits; small tables allow less, and 64K tables of an SMMU with large addresses 52. */
function isInputSize(bits: number, granule: number, { smallTables, wideInput }: SmmuFeatures): boolean {
  const least = smallTables ? (granule === 16 ? 17 : 16) : 25;
  const most = wideInput && granule === 16 ? 52 : 48;
  return bits >= least && bits <= most;
}
