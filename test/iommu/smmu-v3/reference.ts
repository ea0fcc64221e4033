/**
 * A walk of stage-1 tables as the architecture's text describes it (Arm DDI 0487, chapter D8, and IHI 0070), word by
 * word and with nothing that makes it fast: what the model is compared with. It shares no code with the model.
 */

/** A context descriptor's fields by their names in the manual. */
export interface Fields {
  readonly T0SZ: number;
  readonly T1SZ: number;
  /** Kibibytes. */
  readonly granule0: 4 | 16 | 64;
  readonly granule1: 4 | 16 | 64;
  readonly EPD0: boolean;
  readonly EPD1: boolean;
  readonly TBI0: boolean;
  readonly TBI1: boolean;
  readonly HAD0: boolean;
  readonly HAD1: boolean;
  /** Bits. */
  readonly IPS: 32 | 36 | 40 | 42 | 44 | 48;
  readonly AFFD: boolean;
  readonly HA: boolean;
  readonly HD: boolean;
  readonly PAN: boolean;
  readonly R: boolean;
  readonly ASID: number;
  readonly TTB0: bigint;
  readonly TTB1: bigint;
}

const IPS_CODES: Readonly<Record<number, bigint>> = { 32: 0n, 36: 1n, 40: 2n, 42: 3n, 44: 4n, 48: 5n };
const TG0_CODES = { 4: 0n, 64: 1n, 16: 2n } as const;
const TG1_CODES = { 16: 1n, 4: 2n, 64: 3n } as const;

/** The first three words of the descriptor; V, AA64 and A are set. */
export function contextWords(f: Fields): [bigint, bigint, bigint] {
  const bit = (at: number, on: boolean) => (on ? 1n << BigInt(at) : 0n);
  const first =
    BigInt(f.T0SZ) |
    (TG0_CODES[f.granule0] << 6n) |
    bit(14, f.EPD0) |
    (BigInt(f.T1SZ) << 16n) |
    (TG1_CODES[f.granule1] << 22n) |
    bit(30, f.EPD1) |
    bit(31, true) |
    (IPS_CODES[f.IPS]! << 32n) |
    bit(35, f.AFFD) |
    bit(38, f.TBI0) |
    bit(39, f.TBI1) |
    bit(40, f.PAN) |
    bit(41, true) |
    bit(42, f.HD) |
    bit(43, f.HA) |
    bit(45, f.R) |
    bit(46, true) |
    (BigInt(f.ASID) << 48n);
  return [first, f.TTB0 | bit(1, f.HAD0), f.TTB1 | bit(1, f.HAD1)];
}

/** What stage 2 has at an intermediate address. */
export type SecondStage = (address: bigint) => { readonly read: boolean; readonly write: boolean } | undefined;

export interface Memory {
  readonly second: SecondStage;
  /** A word of the guest's memory, whatever stage 2 says. */
  word(address: bigint): bigint;
}

export interface Request {
  readonly write: boolean;
  readonly privileged: boolean;
}

export type Outcome =
  | {
      readonly address: bigint;
      readonly size: bigint;
      readonly global: boolean;
      /** What hardware writes down. */
      readonly mark: { readonly at: bigint; readonly value: bigint } | undefined;
      readonly allowed: { readonly write: boolean; readonly unprivileged: boolean; readonly dirtyLater: boolean };
      readonly second: { readonly read: boolean; readonly write: boolean };
    }
  | { readonly event: string; readonly stage: 1 | 2 };

/** Where each level's index begins, by granule, from level 0 on. */
const SHIFTS: Readonly<Record<number, readonly number[]>> = {
  4: [39, 30, 21, 12],
  16: [47, 36, 25, 14],
  64: [42, 29, 16],
};
/** Sizes that a descriptor of blocks can have, as shifts. */
const BLOCKS: Readonly<Record<number, readonly number[]>> = { 4: [30, 21], 16: [25], 64: [29] };

export function walk(f: Fields, address: bigint, request: Request, memory: Memory, outputLimit: number): Outcome {
  const high = ((address >> 55n) & 1n) === 1n;
  const tagged = high ? f.TBI1 : f.TBI0;
  const looked = tagged ? 56 : 64;
  const bits = 64 - (high ? f.T1SZ : f.T0SZ);
  if (high ? f.EPD1 : f.EPD0) return { event: "F_TRANSLATION", stage: 1 };
  // all bits above the table's are those of its side
  for (let bit = bits; bit < looked; bit++)
    if (((address >> BigInt(bit)) & 1n) !== (high ? 1n : 0n)) return { event: "F_TRANSLATION", stage: 1 };
  const granule = high ? f.granule1 : f.granule0;
  const output = Math.min(f.IPS, outputLimit);
  const ignoresTables = high ? f.HAD1 : f.HAD0;
  const levels = SHIFTS[granule]!.filter((shift) => shift < bits);
  let table = high ? f.TTB1 : f.TTB0;
  let top = bits;
  let readOnly = false;
  let privilegedOnly = false;
  for (const shift of levels) {
    const index = (address >> BigInt(shift)) % (1n << BigInt(top - shift));
    top = shift;
    const at = table + 8n * index;
    const there = memory.second(at);
    if (!there) return { event: "F_TRANSLATION", stage: 2 };
    if (!there.read) return { event: "F_PERMISSION", stage: 2 };
    const entry = memory.word(at);
    const type = Number(entry % 4n);
    if (type === 0 || type === 2) return { event: "F_TRANSLATION", stage: 1 };
    const isLast = shift === levels.at(-1);
    const isBlock = type === 1;
    if (isBlock && (isLast || !BLOCKS[granule]!.includes(shift))) return { event: "F_TRANSLATION", stage: 1 };
    const field = entry % (1n << 48n);
    const unit = isBlock ? 1n << BigInt(shift) : BigInt(granule) * 1024n;
    const next = field - (field % unit);
    if (next >= 1n << BigInt(output)) return { event: "F_ADDR_SIZE", stage: 1 };
    if (!isBlock && !isLast) {
      if (!ignoresTables) {
        readOnly ||= ((entry >> 62n) & 1n) === 1n;
        privilegedOnly ||= ((entry >> 61n) & 1n) === 1n;
      }
      table = next;
      continue;
    }
    const flag = (entry >> 10n) & 1n;
    if (flag === 0n && !f.HA && !f.AFFD) return { event: "F_ACCESS", stage: 1 };
    const leafReadOnly = ((entry >> 7n) & 1n) === 1n;
    const modifiable = f.HD && leafReadOnly && !readOnly && ((entry >> 51n) & 1n) === 1n;
    const unprivileged = ((entry >> 6n) & 1n) === 1n && !privilegedOnly;
    if (request.privileged ? f.PAN && unprivileged : !unprivileged) return { event: "F_PERMISSION", stage: 1 };
    if (request.write && (readOnly || (leafReadOnly && !modifiable))) return { event: "F_PERMISSION", stage: 1 };
    const within = address % (1n << BigInt(shift));
    const found = next + within;
    const second = memory.second(found);
    if (!second) return { event: "F_TRANSLATION", stage: 2 };
    if (request.write ? !second.write : !second.read) return { event: "F_PERMISSION", stage: 2 };
    let value = entry;
    if (f.HA && flag === 0n) value += 1n << 10n;
    if (request.write && modifiable) value -= 1n << 7n;
    if (value !== entry && !there.write) return { event: "F_PERMISSION", stage: 2 };
    return {
      address: found,
      size: 1n << BigInt(shift),
      global: ((entry >> 11n) & 1n) === 0n,
      mark: value === entry ? undefined : { at, value },
      allowed: {
        write: !readOnly && (!leafReadOnly || (modifiable && request.write)),
        unprivileged,
        dirtyLater: modifiable && !request.write,
      },
      second,
    };
  }
  return { event: "F_TRANSLATION", stage: 1 };
}

/** A translation that is remembered. */
interface Remembered {
  readonly asid: number | undefined;
  readonly start: bigint;
  readonly size: bigint;
  readonly to: bigint;
  readonly allowed: { readonly write: boolean; readonly unprivileged: boolean; readonly dirtyLater: boolean };
  readonly second: { readonly read: boolean; readonly write: boolean };
}

/** What an SMMU remembers, as a list that is looked through. */
export class ReferenceTlb {
  #list: Remembered[] = [];

  find(asid: number, address: bigint): Remembered | undefined {
    return this.#list.find(
      (one) => (one.asid === undefined || one.asid === asid) && address >= one.start && address < one.start + one.size,
    );
  }

  add(one: Remembered): void {
    this.#list = this.#list.filter(
      (other) => other.start !== one.start || other.asid !== one.asid || other.size !== one.size,
    );
    this.#list.push(one);
  }

  drop(which: (one: Remembered) => boolean): void {
    this.#list = this.#list.filter((one) => !which(one));
  }
}
