import { fail } from "./errors.ts";

/**
 * kstrtoul() with base 0: decimal, 0x hexadecimal or 0 octal, one newline allowed behind it. EINVAL, ERANGE. @param
 * most the largest that fits
 */
export function writtenNumber(what: string, text: string, most: number): number {
  const match = /^\+?(0x[0-9a-f]+|0[0-7]*|[1-9]\d*)\n?$/i.exec(text);
  if (!match) fail("EINVAL", `"${text.trim()}" is not a number that ${what} takes (0..${most}, 0x... allowed)`);
  const digits = match[1]!;
  const value = BigInt(/^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits);
  if (value > BigInt(most)) fail("ERANGE", `${digits} is more than ${what} can hold (${most})`);
  return Number(value);
}

/** kstrtobool() of what is written. EINVAL. */
export function writtenFlag(what: string, text: string): boolean {
  if (/^([yt1]|on)/i.test(text)) return true;
  if (/^([nf0]|of)/i.test(text)) return false;
  fail("EINVAL", `"${text.trim()}" is neither yes nor no, as ${what} takes it`);
}
