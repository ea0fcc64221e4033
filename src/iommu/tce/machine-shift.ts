/**
 * Shifts as POWER's instructions do them (sld, srd): the count is taken modulo 128 and 64 or more leave nothing. Kernel
 * code whose counts come unchecked from a caller behaves so, whatever C says.
 */
function shiftCount(count: number): bigint {
  return BigInt(count) & 127n;
}

/** 1 << count in 64 bits. */
export function powerOfTwo(count: number): bigint {
  return BigInt.asUintN(64, 1n << shiftCount(count));
}

/** value >> count in 64 bits. */
export function shiftRight(value: bigint, count: number): bigint {
  return value >> shiftCount(count);
}

/** log2 of a power of two, or undefined for other numbers. */
export function log2(value: bigint): number | undefined {
  return value > 0n && (value & (value - 1n)) === 0n ? value.toString(2).length - 1 : undefined;
}
