/**
 * Paths, arguments and the like are bytes to the kernel and texts here. A byte that is part of no UTF-8 character
 * becomes one of the 128 code units from U+DC80 on, which no UTF-8 gives; so every byte comes back. (Python calls that
 * "surrogateescape".)
 */

const ESCAPE = 0xdc00;
/** With the flag u these match only outside of a pair. */
const ESCAPED = /[\udc80-\udcff]/u;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text that stands for some bytes. */
export function textOfBytes(bytes: Uint8Array): string {
  const whole = decode(bytes);
  if (whole !== undefined) return whole;
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const lead = bytes[at]!;
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const character = at + length <= bytes.length ? decode(bytes.subarray(at, at + length)) : undefined;
    text += character ?? String.fromCharCode(ESCAPE + lead);
    at += character === undefined ? 1 : length;
  }
  return text;
}

/**
 * What a text stands for, for whoever takes bytes as well as texts: the text itself unless there are bytes in it that
 * no text gives.
 */
export function bytesOfText(text: string): string | Buffer {
  if (!ESCAPED.test(text)) return text;
  const pieces: Buffer[] = [];
  for (const character of text) {
    const isByte = ESCAPED.test(character);
    pieces.push(isByte ? Buffer.from([character.charCodeAt(0) - ESCAPE]) : Buffer.from(character));
  }
  return Buffer.concat(pieces);
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}
