import type { FirstLevelTable } from "../proposed.ts";
import { type Refused, refuse } from "./access.ts";

/** 64-bit words of a PASID table entry. */
export const ENTRY_WORDS = 8;
export const ENTRY_BYTES = 64;

/** Which levels translate a PASID's requests (PGTT). */
const PGTT = { first: 1, second: 2, nested: 3 } as const;
export type TranslationType = keyof typeof PGTT;

/** What a scalable-mode PASID table entry says (VT-d specification, "Scalable-Mode PASID Table Entry"). */
export interface PasidEntry {
  readonly type: TranslationType;
  /** 16 bits: the tag of everything that is cached through it. */
  readonly domain: number;
  /** Address of the second-level table (SLPTPTR); 0 for type first. */
  readonly secondLevel: bigint;
  /** Undefined for type second. */
  readonly firstLevel: FirstLevelTable | undefined;
  /** Supervisor requests are served (SRE). */
  readonly supervisor: boolean;
  /** Execute requests are served (ERE). */
  readonly execute: boolean;
}

const ADDRESS = 0xffff_ffff_ffff_f000n;
const SRE = 1n;
const ERE = 1n << 1n;
const FLPM_SHIFT = 2n;
const WPE = 1n << 4n;
const NXE = 1n << 5n;
const SMEP = 1n << 6n;
const EAFE = 1n << 7n;

/** Bits that must be zero, by word. Words 3-7 must be zero altogether. */
const RESERVED: readonly bigint[] = [0b11n << 10n, 0x7fn << 16n, 0xfn << 8n];

export function encodeEntry(entry: PasidEntry): bigint[] {
  const words = new Array<bigint>(ENTRY_WORDS).fill(0n);
  const { firstLevel: first } = entry;
  // AW: 4-level second-level tables
  words[0] = 1n | (2n << 2n) | (BigInt(PGTT[entry.type]) << 6n) | entry.secondLevel;
  words[1] = BigInt(entry.domain);
  if (!first) return words;
  words[2] =
    (entry.supervisor ? SRE : 0n) |
    (entry.execute ? ERE : 0n) |
    (first.levels === 5 ? 1n << FLPM_SHIFT : 0n) |
    (first.writeProtect ? WPE : 0n) |
    (first.noExecute ? NXE : 0n) |
    (first.smep ? SMEP : 0n) |
    (first.extendedAccessed ? EAFE : 0n) |
    first.root;
  return words;
}

/** Takes an entry apart as the hardware does; refused when it is not present or asks for what there is not. */
export function decodeEntry(words: readonly bigint[]): PasidEntry | Refused {
  const [low, second, third] = words as [bigint, bigint, bigint];
  if (!(low & 1n)) return refuse("entryNotPresent");
  const reserved = words.some((word, i) => (word & (RESERVED[i] ?? ~0n)) !== 0n);
  if (reserved) return refuse("entryReserved");
  const type = (Object.keys(PGTT) as TranslationType[]).find((name) => BigInt(PGTT[name]) === ((low >> 6n) & 7n));
  const paging = Number((third >> FLPM_SHIFT) & 3n);
  if (!type || (type !== "second" && paging > 1)) return refuse("entryInvalid");
  return {
    type,
    domain: Number(second & 0xffffn),
    secondLevel: type === "first" ? 0n : low & ADDRESS,
    firstLevel:
      type === "second"
        ? undefined
        : {
            root: third & ADDRESS,
            levels: paging === 1 ? 5 : 4,
            writeProtect: (third & WPE) !== 0n,
            noExecute: (third & NXE) !== 0n,
            smep: (third & SMEP) !== 0n,
            extendedAccessed: (third & EAFE) !== 0n,
          },
    supervisor: (third & SRE) !== 0n,
    execute: (third & ERE) !== 0n,
  };
}
