import { printable } from "../../kernel/printable.ts";

/** The longest text of an input that a message repeats. */
const TEXT_MAX = 200;

/** The first part of a text, with dots where the rest was. */
export function cut(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max)}...`;
}

/** A text of an input in a message: escaped, and its beginning only when it is long. */
export function shown(text: string): string {
  return printable(cut(text, TEXT_MAX));
}
