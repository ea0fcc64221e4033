import { z } from "zod";
import { isPrintable } from "../kernel/printable.ts";
import { didYouMean } from "./nearest.ts";

/**
 * The kinds of single values in a host file. Each takes what YAML makes of it (text, bigint, boolean) and says what is wrong
 * with it in words for the person who wrote it.
 */

type Check<T> = (value: unknown) => { readonly value: T } | { readonly problem: string };

function checked<T>(check: Check<T>) {
  return z.unknown().transform((value, context): T => {
    const result = value === undefined || value === null ? { problem: "missing" } : check(value);
    if ("value" in result) return result.value;
    context.issues.push({ code: "custom", message: result.problem, input: value });
    return z.NEVER;
  });
}

/** How a value looks in a message: as it was written, shortened. */
export function shown(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "a mapping";
  const text = String(value);
  const short = text.length > 40 ? `${text.slice(0, 37)}...` : text;
  return typeof value === "string" ? JSON.stringify(short) : short;
}

/** A whole number, as YAML has it or as text: decimal or hex. */
function integer(value: unknown): bigint | undefined {
  if (typeof value === "bigint") return value;
  return typeof value === "string" && /^(0[xX][0-9a-fA-F]+|[0-9]+)$/.test(value) ? BigInt(value) : undefined;
}

/** 64 bits of address or page-size bitmap. */
function unsigned64(what: string, example: string) {
  return checked((value) => {
    const number = integer(value);
    if (number === undefined) return { problem: `not ${what}: ${shown(value)} (write hex like ${example})` };
    if (BigInt.asUintN(64, number) !== number) return { problem: `not ${what}: ${shown(value)} is beyond 64 bits` };
    return { value: number };
  });
}

export const address = unsigned64("an address", "0xfee00000");
export const byteSize = unsigned64("a size in bytes", "0x40000000");
export const pageSizeBitmap = unsigned64("a bitmap of page sizes", "0x40201000");

/** A number from `least` to `most`. */
export function numberBetween(least: number, most: number) {
  return checked((value) => {
    const number = integer(value);
    if (number === undefined) return { problem: `not a whole number: ${shown(value)}` };
    if (number < least || number > most) return { problem: `${shown(value)} is not from ${least} to ${most}` };
    return { value: Number(number) };
  });
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

export const boolean = checked((value) =>
  typeof value === "boolean" ? { value } : { problem: `not true or false: ${shown(value)}` },
);

/** Text on one line; a number is taken as its digits. */
export const text = checked((value) => {
  if (typeof value !== "string" && typeof value !== "bigint") return { problem: `not text: ${shown(value)}` };
  const string = String(value);
  return isPrintable(string) ? { value: string } : { problem: "must be one line of text without control characters" };
});

/** Text that becomes a file name in sysfs. */
export const fileName = checked((value) => {
  const string = typeof value === "bigint" ? String(value) : value;
  if (typeof string !== "string" || !/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(string))
    return { problem: `not a name: ${shown(value)} (letters, digits, _, - and .)` };
  return { value: string };
});

/** One of the words; the message lists them, and guesses. */
export function oneOf<const T extends string>(words: readonly T[]) {
  return checked<T>((value) => {
    const word = words.find((candidate) => candidate === value);
    return word === undefined ? { problem: notOneOf(value, words) } : { value: word };
  });
}

export function notOneOf(value: unknown, words: readonly string[]): string {
  const guess = typeof value === "string" ? didYouMean(value, words) : "";
  return `${shown(value)} is not one of ${words.join(", ")}${guess}`;
}

export { checked };
