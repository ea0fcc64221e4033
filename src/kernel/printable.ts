/**
 * Characters that do more than stand for themselves: a terminal obeys them, they hide or reorder what follows, or they
 * are half of one.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]/gu;

/**
 * Text of somebody else's making (a name, a path, a line of a file) as it can stand in a line for people: control
 * characters are written as escapes, and what is longer than `most` characters is cut in the middle.
 */
export function printable(text: string, most = Number.POSITIVE_INFINITY): string {
  const short = text.length > most ? shortened(text, most) : text;
  return short.replace(CONTROL, escaped);
}

/** Whether printable() would escape something. */
export function isPrintable(text: string): boolean {
  return text.search(CONTROL) < 0;
}

function shortened(text: string, most: number): string {
  const end = Math.floor(most / 4);
  return `${text.slice(0, most - end)}...(${text.length - most} more)...${text.slice(text.length - end)}`;
}

const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function escaped(character: string): string {
  const code = character.charCodeAt(0);
  return NAMED[character] ?? (code < 0x100 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`);
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}
