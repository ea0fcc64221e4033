import { didYouMean } from "./nearest.ts";
import { isPrintable } from "./printable.ts";

/**
 * Single values that people write, in a host file or in code: each takes what YAML makes of it (text, bigint, boolean)
 * or JavaScript has, and says what is wrong with it in words for the person who wrote it.
 */

export type Reading<T> = { readonly value: T } | { readonly problem: string };

const SIZE_UNITS: Readonly<Record<string, bigint>> = { "": 1n, K: 1n << 10n, M: 1n << 20n, G: 1n << 30n, T: 1n << 40n };

/** How a value looks in a message: as it was written, shortened. */
export function shown(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "a mapping";
  const text = String(value);
  const short = text.length > 40 ? `${text.slice(0, 37)}...` : text;
  return typeof value === "string" ? JSON.stringify(short) : short;
}

/** A whole number, as YAML has it or as text: decimal or hex. */
export function integer(value: unknown): bigint | undefined {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  return typeof value === "string" && /^(0[xX][0-9a-fA-F]+|[0-9]+)$/.test(value) ? BigInt(value) : undefined;
}

/** 64 bits of address or page-size bitmap. */
export function readUnsigned64(value: unknown, what: string, example: string): Reading<bigint> {
  const number = integer(value);
  if (number === undefined) return { problem: `not ${what}: ${shown(value)} (write hex like ${example})` };
  if (BigInt.asUintN(64, number) !== number) return { problem: `not ${what}: ${shown(value)} is beyond 64 bits` };
  return { value: number };
}

/** A number from `least` to `most`. */
export function readNumber(value: unknown, least: number, most: number): Reading<number> {
  const number = integer(value);
  if (number === undefined) return { problem: `not a whole number: ${shown(value)}` };
  if (number < least || number > most) return { problem: `${shown(value)} is not from ${least} to ${most}` };
  return { value: Number(number) };
}

/** Bytes, also with a unit: 64K, 16M, 2G, 1T. */
export function readSize(value: unknown): Reading<number> {
  const match = typeof value === "string" ? /^(.*?)([KMGT]?)$/.exec(value) : null;
  const number = integer(match ? match[1] : value);
  const bytes = number === undefined ? undefined : number * SIZE_UNITS[match?.[2] ?? ""]!;
  if (bytes === undefined || bytes < 0n || bytes > Number.MAX_SAFE_INTEGER)
    return { problem: `not a size in bytes: ${shown(value)} (write it like 0x100000 or 64M)` };
  return { value: Number(bytes) };
}

export function readBoolean(value: unknown): Reading<boolean> {
  return typeof value === "boolean" ? { value } : { problem: `not true or false: ${shown(value)}` };
}

/** Text on one line; a number is taken as its digits. */
export function readText(value: unknown): Reading<string> {
  if (typeof value !== "string" && typeof value !== "bigint") return { problem: `not text: ${shown(value)}` };
  const string = String(value);
  return isPrintable(string) ? { value: string } : { problem: "must be one line of text without control characters" };
}

/** One of the words; the message lists them, and guesses. */
export function readOneOf<T extends string>(value: unknown, words: readonly T[]): Reading<T> {
  const word = words.find((candidate) => candidate === value);
  return word === undefined ? { problem: notOneOf(value, words) } : { value: word };
}

export function notOneOf(value: unknown, words: readonly string[]): string {
  const guess = typeof value === "string" ? didYouMean(value, words) : "";
  return `${shown(value)} is not one of ${words.join(", ")}${guess}`;
}
