/**
 * Reads YAML as host files mostly are: block mappings and sequences, texts of one line, lists and mappings of one line.
 * It is the reader for large files, and takes a tenth of the time that a reader of all YAML takes. It gives up on
 * everything that it does not know to mean the same to both.
 */

/** The text is not that plain. */
class NotPlain extends Error {}

/** What ASCII texts of one line have in them that means something to YAML, or may. */
const SPECIAL = /[#{}[\],&*!|>%@`"'?<\\]/;
const KEY = /^[A-Za-z_][\w-]*$/;
const FLOW_PAIR = /^([A-Za-z_][\w-]*): +(.+)$/;
const DASH = /^- +(?=\S)/;
/** Words that mean nothing else, as most texts are. */
const WORDS = /^[A-Za-z][\w ./-]*$/;
/** Keys that are no texts, or no keys of an ordinary object. */
const NO_KEYS = new Set(["null", "Null", "NULL", "__proto__"]);
/** As the reader of all YAML takes them (yaml-source.ts). */
const INTEGER = /^(?:[-+]?[0-9]{1,20}|0x[0-9a-fA-F]+|0o[0-7]+)$/;
const NULL = /^(?:~|null|Null|NULL)$/;
const TRUE = /^(?:true|True|TRUE)$/;
const FALSE = /^(?:false|False|FALSE)$/;
const MEANING = new Set(["null", "Null", "NULL", "true", "True", "TRUE", "false", "False", "FALSE"]);
const SPACE = 0x20;
const HASH = 0x23;
const MINUS = 0x2d;

/** The content as plain values, integers as bigints; undefined when it takes a reader of all YAML to tell. */
export function readPlainYaml(text: string): unknown {
  if (/[^\x20-\x7e\n]/.test(text)) return undefined;
  try {
    return new PlainReader(text).document();
  } catch (error) {
    if (error instanceof NotPlain) return undefined;
    throw error;
  }
}

/** The lines one after the other, without those that say nothing. */
class PlainReader {
  readonly #text: string;
  /** Where the next line begins. */
  #next = 0;
  /** Of the line in hand: how far it is set in, -1 at the end; the rest of it, less what was read already. */
  #indent = 0;
  #content = "";
  /** What is before the colon of that, and behind it; undefined for nothing. */
  #key = "";
  #value: string | undefined;
  /** The few keys that there are, by themselves: V8 finds a property faster by the text that it has of its name. */
  readonly #keys = new Map<string, string>();

  constructor(text: string) {
    this.#text = text;
    this.#advance();
  }

  document(): unknown {
    if (this.#indent !== 0) throw new NotPlain();
    const value = this.#block(0);
    if (this.#indent >= 0) throw new NotPlain();
    return value;
  }

  #advance(): void {
    const text = this.#text;
    while (this.#next < text.length) {
      const start = this.#next;
      const newline = text.indexOf("\n", start);
      const end = newline < 0 ? text.length : newline;
      this.#next = end + 1;
      let first = start;
      while (first < end && text.charCodeAt(first) === SPACE) first++;
      if (first === end || text.charCodeAt(first) === HASH) continue;
      this.#indent = first - start;
      let last = end;
      while (text.charCodeAt(last - 1) === SPACE) last--;
      this.#content = text.slice(first, last);
      return;
    }
    this.#indent = -1;
    this.#content = "";
  }

  #block(indent: number): unknown {
    return this.#isItem() ? this.#sequence(indent) : this.#mapping(indent);
  }

  #sequence(indent: number): unknown[] {
    const items: unknown[] = [];
    while (this.#indent === indent && this.#isItem()) {
      const { length } = DASH.exec(this.#content)![0];
      this.#indent += length;
      this.#content = this.#content.slice(length);
      if (this.#isItem()) throw new NotPlain();
      if (this.#hasKey()) items.push(this.#mapping(this.#indent));
      else {
        const item = this.#content;
        this.#advance();
        this.#refuseBelow(indent);
        items.push(scalar(item));
      }
    }
    this.#refuseBelow(indent);
    return items;
  }

  #mapping(indent: number): object {
    const mapping: Record<string, unknown> = {};
    while (this.#indent === indent) {
      if (!this.#hasKey()) {
        // a sequence that its key's mapping goes on behind
        if (this.#isItem()) break;
        throw new NotPlain();
      }
      const key = this.#key;
      const value = this.#value;
      if (key in mapping) throw new NotPlain();
      this.#advance();
      mapping[key] = value === undefined ? this.#below(indent) : scalar(value);
      this.#refuseBelow(indent);
    }
    return mapping;
  }

  /** What a key has below it; null for nothing. A sequence may begin where the key does. */
  #below(indent: number): unknown {
    if (this.#indent < indent) return null;
    if (this.#indent > indent) return this.#block(this.#indent);
    return this.#isItem() ? this.#sequence(indent) : null;
  }

  /** A text that goes on in the next line, or what is set in strangely. */
  #refuseBelow(indent: number): void {
    if (this.#indent > indent) throw new NotPlain();
  }

  #isItem(): boolean {
    return this.#content.charCodeAt(0) === MINUS && DASH.test(this.#content);
  }

  /** Whether the line in hand is a key with or without a value; then these are known. */
  #hasKey(): boolean {
    const content = this.#content;
    const colon = content.indexOf(":");
    if (colon < 0 || (colon + 1 < content.length && content.charCodeAt(colon + 1) !== SPACE)) return false;
    const name = content.slice(0, colon);
    let key = this.#keys.get(name);
    if (key === undefined) {
      if (!KEY.test(name)) return false;
      if (NO_KEYS.has(name)) throw new NotPlain();
      key = Object.keys({ [name]: true })[0]!;
      this.#keys.set(key, key);
    }
    this.#key = key;
    let begin = colon + 1;
    while (content.charCodeAt(begin) === SPACE) begin++;
    this.#value = begin < content.length ? content.slice(begin) : undefined;
    return true;
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
  const end = text.length - 1;
  if (text.indexOf('"', 1) === end && text.startsWith('"') && !text.includes("\\")) return text.slice(1, end);
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
  if (WORDS.test(text) && !MEANING.has(text)) return text;
  if (!/^(?:[A-Za-z0-9_./+~]|-[0-9A-Za-z])/.test(text) || SPECIAL.test(text) || /: |:$/.test(text))
    throw new NotPlain();
  if (INTEGER.test(text)) return BigInt(text);
  if (NULL.test(text)) return null;
  if (TRUE.test(text)) return true;
  return FALSE.test(text) ? false : text;
}
