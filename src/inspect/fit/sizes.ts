import { FitInputError } from "./input-error.ts";

export const KIB = 1n << 10n;
export const MIB = 1n << 20n;
export const GIB = 1n << 30n;
export const TIB = 1n << 40n;

const UNITS = ["", "K", "M", "G", "T", "P", "E"] as const;
const EXAMPLES = "write it like 64G, 1010G, 1T, 512MiB, 0x40000000 or plain bytes";

/**
 * Bytes from what people write: K, M, G, T, P, E are powers of 1024, with or without iB; hex and decimal bytes;
 * fractions like 1.5T.
 * @param what the option's name, for the message
 * @throws FitInputError for what is no size, for 0 and for what 64 bits cannot hold
 */
export function parseSize(text: string, what: string): bigint {
  const size = bytesOf(text.trim());
  if (size === undefined) throw new FitInputError(`${what}: not a size: "${text}" (${EXAMPLES})`);
  if (size === 0n) throw new FitInputError(`${what}: a size of 0 bytes (${EXAMPLES})`);
  if (size >= 1n << 64n) throw new FitInputError(`${what}: "${text}" is more than 64 bits can address`);
  return size;
}

function bytesOf(text: string): bigint | undefined {
  if (/^0x[0-9a-f]+$/i.test(text)) return BigInt(text);
  const match = /^(\d{1,30})(?:\.(\d{1,9}))?\s*(?:([KMGTPE])(?:i?B)?|B)?$/i.exec(text);
  if (!match) return undefined;
  const [, whole, fraction = "", letter = ""] = match;
  const shift = BigInt(10 * UNITS.indexOf(letter.toUpperCase() as (typeof UNITS)[number]));
  const digits = 10n ** BigInt(fraction.length);
  const scaled = BigInt(`${whole}${fraction}`) << shift;
  // half a byte is no size
  return scaled % digits === 0n ? scaled / digits : undefined;
}

/** Bytes for people, exact: the largest unit that leaves few digits ("1010 GiB", "256 KiB", "1.5 GiB"). */
export function sizeText(bytes: bigint): string {
  let power = 0;
  while (power < UNITS.length - 1 && bytes >= 1n << BigInt(10 * (power + 1))) power++;
  // 1010 GiB says more than 0.986328125 TiB: go down until at most two decimals are left
  for (; power > 0; power--) {
    const unit = 1n << BigInt(10 * power);
    if ((bytes * 100n) % unit === 0n) return `${decimal(bytes, unit)} ${UNITS[power]}iB`;
  }
  return `${bytes} bytes`;
}

/** Bytes for people, rounded down where the exact number would be long: "~1008.0 GiB" for 1056964607 KiB. */
export function roughSize(bytes: bigint): string {
  const exact = sizeText(bytes);
  if (/^\d{1,4}(\.\d+)? [A-Z]/.test(exact)) return exact;
  let power = 0;
  while (power < UNITS.length - 1 && bytes >= 1n << BigInt(10 * (power + 1))) power++;
  const tenths = (bytes * 10n) / (1n << BigInt(10 * power));
  return `~${tenths / 10n}.${tenths % 10n} ${UNITS[power]}iB`;
}

function decimal(bytes: bigint, unit: bigint): string {
  const hundredths = (bytes * 100n) / unit;
  const fraction = String(hundredths % 100n)
    .padStart(2, "0")
    .replace(/0+$/, "");
  return fraction === "" ? String(hundredths / 100n) : `${hundredths / 100n}.${fraction}`;
}

export function roundUp(value: bigint, to: bigint): bigint {
  return ((value + to - 1n) / to) * to;
}

/** The smallest power of two that is not less. */
export function powerOfTwoAtLeast(value: bigint): bigint {
  let power = 1n;
  while (power < value) power <<= 1n;
  return power;
}

/** Address bits that it takes to name `last`. */
export function bitsFor(last: bigint): number {
  return last.toString(2).length;
}

export function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

/** "0xfd00000000-0xffffffffff": both ends belong to it. */
export function rangeText({ start, last }: { readonly start: bigint; readonly last: bigint }): string {
  return `${hex(start)}-${hex(last)}`;
}
