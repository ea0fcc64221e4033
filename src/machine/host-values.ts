import {
  integer,
  readBoolean,
  readNumber,
  readOneOf,
  readText,
  readUnsigned64,
  shown,
} from "../kernel/written-values.ts";
import { checked } from "./host-fields.ts";

/**
 * The kinds of single values in a host file, for its schema. What is wrong with one is said in words for the person who
 * wrote it.
 */

/** 64 bits of address or page-size bitmap. */
function unsigned64(what: string, example: string) {
  return checked((value) => readUnsigned64(value, what, example));
}

export const address = unsigned64("an address", "0xfee00000");
export const byteSize = unsigned64("a size in bytes", "0x40000000");
export const pageSizeBitmap = unsigned64("a bitmap of page sizes", "0x40201000");

/** A number from `least` to `most`. */
export function numberBetween(least: number, most: number) {
  return checked((value) => readNumber(value, least, most));
}

export const powerOfTwo = checked((value) => {
  const number = integer(value);
  if (number === undefined || number <= 0n || (number & (number - 1n)) !== 0n || number > 1n << 48n)
    return { problem: `not a power of two: ${shown(value)}` };
  return { value: Number(number) };
});

/** Hex digits, with or without 0x; a YAML number counts as it is. */
export function hexNumber(digits: number) {
  return checked((value) => {
    const number =
      typeof value === "string" && /^(0x)?[0-9a-f]+$/i.test(value)
        ? BigInt(`0x${value.replace(/^0x/i, "")}`)
        : integer(value);
    const example = "0x".padEnd(digits + 2, "0");
    if (number === undefined || number < 0n || number >= 1n << BigInt(digits * 4))
      return { problem: `not ${digits} hex digits: ${shown(value)} (write it like ${example})` };
    return { value: Number(number) };
  });
}

/** At most so many bytes, two hex digits each. */
export function hexBytes(most: number) {
  return checked((value) => {
    if (typeof value !== "string" || !/^([0-9a-f]{2})*$/i.test(value) || value.length > 2 * most)
      return { problem: `not at most ${most} bytes in hex: ${shown(value)}` };
    return { value: Uint8Array.from(Buffer.from(value, "hex")) };
  });
}

export const boolean = checked(readBoolean);

export const text = checked(readText);

/** Text that becomes a file name in sysfs. */
export const fileName = checked((value) => {
  const string = typeof value === "bigint" ? String(value) : value;
  if (typeof string !== "string" || !/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(string))
    return { problem: `not a name: ${shown(value)} (letters, digits, _, - and .)` };
  return { value: string };
});

/** One of the words; the message lists them, and guesses. */
export function oneOf<const T extends string>(words: readonly T[]) {
  return checked<T>((value) => readOneOf(value, words));
}
