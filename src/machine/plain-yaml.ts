/**
 * Reads YAML as host files mostly are: block mappings and sequences, texts of one line, lists and mappings of one line.
 * It is the reader for large files, and takes a tenth of the time that a reader of all YAML takes. It gives up on
 * everything that it does not know to mean the same to both.
 */

/** The text is not that plain. */
class NotPlain extends Error {}

interface Line {
  indent: number;
  content: string;
}

/** What ASCII texts of one line have in them that means something to YAML, or may. */
const SPECIAL = /[#{}[\],&*!|>%@`"'?<\\]/;
const KEY = /^([A-Za-z_][\w-]*):(?: +(.*))?$/;
const FLOW_PAIR = /^([A-Za-z_][\w-]*): +(.+)$/;
const DASH = /^- +(?=\S)/;
/** Keys that are no texts, or no keys of an ordinary object. */
const NO_KEYS = new Set(["null", "Null", "NULL", "__proto__"]);
/** As the reader of all YAML takes them (yaml-source.ts). */
const INTEGER = /^(?:[-+]?[0-9]{1,20}|0x[0-9a-fA-F]+|0o[0-7]+)$/;
const NULL = /^(?:~|null|Null|NULL)$/;
const TRUE = /^(?:true|True|TRUE)$/;
const FALSE = /^(?:false|False|FALSE)$/;

/** The content as plain values, integers as bigints; undefined when it takes a reader of all YAML to tell. */
export function readPlainYaml(text: string): unknown {
  if (/[^\x20-\x7e\n]/.test(text)) return undefined;
  try {
    const reader = new PlainReader(text);
    return reader.document();
  } catch (error) {
    if (error instanceof NotPlain) return undefined;
    throw error;
  }
}

class PlainReader {
  readonly #lines: Line[] = [];
  #at = 0;

  constructor(text: string) {
    for (const line of text.split("\n")) {
      const content = line.trim();
      if (content === "" || content.startsWith("#")) continue;
      this.#lines.push({ indent: line.length - line.trimStart().length, content });
    }
  }

  document(): unknown {
    const first = this.#lines[0];
    if (first === undefined || first.indent !== 0) throw new NotPlain();
    const value = this.#block(0);
    if (this.#at < this.#lines.length) throw new NotPlain();
    return value;
  }

  #block(indent: number): unknown {
    return DASH.test(this.#lines[this.#at]!.content) ? this.#sequence(indent) : this.#mapping(indent);
  }

  #sequence(indent: number): unknown[] {
    const items: unknown[] = [];
    for (let line = this.#lines[this.#at]; line?.indent === indent; line = this.#lines[this.#at]) {
      const dash = DASH.exec(line.content);
      if (dash === null) break;
      line.indent += dash[0].length;
      line.content = line.content.slice(dash[0].length);
      if (DASH.test(line.content)) throw new NotPlain();
      if (KEY.test(line.content)) items.push(this.#mapping(line.indent));
      else {
        this.#at++;
        this.#refuseBelow(indent);
        items.push(scalar(line.content));
      }
    }
    this.#refuseBelow(indent);
    return items;
  }

  #mapping(indent: number): object {
    const mapping: Record<string, unknown> = {};
    for (let line = this.#lines[this.#at]; line?.indent === indent; line = this.#lines[this.#at]) {
      const [, key, value] = KEY.exec(line.content) ?? [];
      if (key === undefined) {
        // a sequence that its key's mapping goes on behind
        if (DASH.test(line.content)) break;
        throw new NotPlain();
      }
      if (NO_KEYS.has(key) || Object.hasOwn(mapping, key)) throw new NotPlain();
      this.#at++;
      mapping[key] = value === undefined ? this.#below(indent) : scalar(value);
      this.#refuseBelow(indent);
    }
    return mapping;
  }

  /** What a key has below it; null for nothing. A sequence may begin where the key does. */
  #below(indent: number): unknown {
    const next = this.#lines[this.#at];
    if (next === undefined || next.indent < indent) return null;
    if (next.indent > indent) return this.#block(next.indent);
    return DASH.test(next.content) ? this.#sequence(indent) : null;
  }

  /** A text that goes on in the next line, or what is set in strangely. */
  #refuseBelow(indent: number): void {
    const next = this.#lines[this.#at];
    if (next !== undefined && next.indent > indent) throw new NotPlain();
  }
}

function scalar(text: string): unknown {
  const first = text[0];
  if (first === '"' || first === "'") return quoted(text);
  if (first === "{") return flowMapping(text);
  if (first === "[") return flowSequence(text);
  return plain(text);
}

function quoted(text: string): string {
  const inner = /^"([^"\\]*)"$|^'([^']*)'$/.exec(text);
  if (inner === null) throw new NotPlain();
  return inner[1] ?? inner[2]!;
}

function flowSequence(text: string): unknown[] {
  if (!text.endsWith("]")) throw new NotPlain();
  const inner = text.slice(1, -1).trim();
  return inner === "" ? [] : inner.split(",").map((part) => flowScalar(part.trim()));
}

function flowMapping(text: string): object {
  if (!text.endsWith("}")) throw new NotPlain();
  const mapping: Record<string, unknown> = {};
  const inner = text.slice(1, -1).trim();
  for (const part of inner === "" ? [] : inner.split(",")) {
    const [, key, value] = FLOW_PAIR.exec(part.trim()) ?? [];
    if (key === undefined || NO_KEYS.has(key) || Object.hasOwn(mapping, key)) throw new NotPlain();
    mapping[key] = flowScalar(value!);
  }
  return mapping;
}

function flowScalar(text: string): unknown {
  const first = text[0];
  return first === '"' || first === "'" ? quoted(text) : plain(text);
}

function plain(text: string): unknown {
  if (!/^(?:[A-Za-z0-9_./+~]|-[0-9A-Za-z])/.test(text) || SPECIAL.test(text) || /: |:$/.test(text))
    throw new NotPlain();
  if (INTEGER.test(text)) return BigInt(text);
  if (NULL.test(text)) return null;
  if (TRUE.test(text)) return true;
  return FALSE.test(text) ? false : text;
}
