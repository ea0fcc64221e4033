export const ALL_64_BITS = 0xffff_ffff_ffff_ffffn;

/** The highest address that `bits` address bits can name. */
export function lastOfBits(bits: number): bigint {
  return (1n << BigInt(bits)) - 1n;
}

/** Address bits that it takes to name `last`. */
export function bitsOfLast(last: bigint): number {
  return last.toString(2).length;
}
