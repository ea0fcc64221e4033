/**
 * An unsigned long as a program passes it: a number while that is exact, a bigint beyond 2^53. User addresses are
 * always numbers; only odd arguments (kernel addresses, negative values widened to 64 bits) are bigints, so that the
 * usual call allocates nothing.
 */
export type Word = number | bigint;

/** Joins two 32-bit halves. */
export function wordFromHalves(low: number, high: number): Word {
  return high < 0x200000 ? high * 0x1_0000_0000 + (low >>> 0) : (BigInt(high) << 32n) | BigInt(low >>> 0);
}

export function wordFromBigInt(value: bigint): Word {
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

/** An address plus an offset. */
export function wordAdd(word: Word, offset: number): Word {
  return typeof word === "number" ? word + offset : word + BigInt(offset);
}
