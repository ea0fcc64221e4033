/** The longest text of an input that a message repeats. */
const TEXT_MAX = 200;

/** Control characters, and those that change the direction or the lines of a text: no input writes with them to a terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not come through
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]/gu;

/** A text of an input as a terminal may show it: control characters escaped as "\x1b". */
export function escaped(text: string): string {
  return text.replace(CONTROL, (character) => {
    const code = character.codePointAt(0)!.toString(16);
    return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}

/** The first part of a text, with dots where the rest was. */
export function cut(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max)}...`;
}

/** A text of an input in a message: escaped, and its beginning only when it is long. */
export function shown(text: string): string {
  return escaped(cut(text, TEXT_MAX));
}
