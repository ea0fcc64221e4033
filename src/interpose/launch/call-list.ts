import { errnoName } from "../../uapi/errno.ts";
import { InterposerError } from "../interposer-error.ts";
import { BUFFER, BUFFER_SIZE, CALL_SIZE, FLAG_REQUIRED, LIST_HEADER } from "./launcher-image.ts";

/** What an earlier call of the list returns. */
export class Result {
  readonly index: number;

  constructor(index: number) {
    this.index = index;
  }
}

/** Bytes in the launcher's memory. As an argument, their address. */
class Data {
  readonly offset: number;

  constructor(offset: number) {
    this.offset = offset;
  }
}

/** A number, a NUL-terminated text, bytes, an earlier result, or data that is in the list already. */
export type Argument = number | string | Uint8Array | Result | Data;

/** Makes the error of a call that the list cannot do without, from the errno's name. */
type Refused = (errno: string) => Error;

/** By their number: a text has one at least, and as many as it takes to a multiple of 8. */
const NULS = Array.from({ length: 9 }, (_, count) => "\0".repeat(count));

/** In 32-bit words, as they are written here. */
const CALL_WORDS = CALL_SIZE >> 2;
const HEADER_WORDS = LIST_HEADER >> 2;
/** Calls that there is room for at first. */
const CALLS = 32;

/** Writes a number as a 64-bit word; what is written is 0 so far. */
function put(words: Int32Array, at: number, value: number): void {
  words[at] = value;
  if (value < 0 || value > 0x7fff_ffff) words[at + 1] = Math.floor(value / 0x1_0000_0000);
}

/** Adds to words, each at its place behind `begin`. */
function move(words: Int32Array, begin: number, places: readonly number[], by: number): void {
  // no iterator, which would make an object for each
  for (let n = 0; n < places.length; n++) words[begin + places[n]!]! += by;
}

/**
 * System calls for the launcher to make one after the other (see launcher-image.ts for the format). They are written
 * down as they come: of some hundred, objects would be a large part of all that a start allocates, and code that goes
 * through them once more would be optimized, which takes longer than all of it.
 */
export class CallList {
  #length = 0;
  /** Where an earlier result or data stands for its address, it is relative to all results or all data. */
  #calls = new Int32Array(CALLS * CALL_WORDS);
  readonly #toResults: number[] = [];
  readonly #toData: number[] = [];
  /** What a call that the list cannot do without throws when it fails. */
  readonly #refused = new Map<number, Refused>();
  /** Data by its offset, and the texts that follow it. */
  readonly #blocks: (readonly [offset: number, block: string | Uint8Array])[] = [];
  #texts = "";
  #textsOffset = 0;
  /** Addresses in the data, as 32-bit words of it. */
  readonly #dataToData: number[] = [];
  #dataLength = 0;
  readonly #results: number[] = [];
  #rest = Buffer.alloc(0);

  /**
   * Appends a call. A failure is the caller's to look at, or nobody's.
   * @param refused given, the list ends with this error when the call fails
   */
  call(number: number, args: readonly Argument[], refused?: Refused): Result {
    const index = this.#length++;
    let at = index * CALL_WORDS;
    const flagsAt = at + CALL_WORDS - 2;
    if (flagsAt >= this.#calls.length) this.#grow();
    const calls = this.#calls;
    let flags = 0;
    calls[at] = number;
    for (let n = 0; n < args.length; n++) {
      const arg = args[n]!;
      at += 2;
      if (typeof arg === "number") put(calls, at, arg);
      else if (arg instanceof Result) {
        flags |= 1 << n;
        calls[at] = 8 * arg.index;
        this.#toResults.push(at);
      } else {
        calls[at] = this.#place(arg);
        this.#toData.push(at);
      }
    }
    if (refused) {
      flags |= FLAG_REQUIRED;
      this.#refused.set(index, refused);
    }
    calls[flagsAt] = flags;
    return new Result(index);
  }

  /** An array of 64-bit words in the launcher's memory; texts and bytes become their addresses. */
  words(values: readonly (number | string | Uint8Array | Data)[]): Data {
    const words = new Int32Array(2 * values.length);
    const addresses: number[] = [];
    for (const [index, value] of values.entries()) {
      if (typeof value === "number") put(words, 2 * index, value);
      else {
        words[2 * index] = this.#place(value);
        addresses.push(2 * index);
      }
    }
    const offset = this.#place(new Uint8Array(words.buffer));
    for (const address of addresses) this.#dataToData.push((offset >> 2) + address);
    return new Data(offset);
  }

  #grow(): void {
    const grown = new Int32Array(2 * this.#calls.length);
    grown.set(this.#calls);
    this.#calls = grown;
  }

  /** Returns the offset of data. */
  #place(block: string | Uint8Array | Data): number {
    if (block instanceof Data) return block.offset;
    const offset = this.#dataLength;
    if (typeof block === "string") {
      const size = Buffer.byteLength(block);
      const room = ((size >> 3) + 1) << 3;
      // Texts that follow each other are written as one: each write costs more than what it writes.
      if (this.#texts === "") this.#textsOffset = offset;
      this.#texts += block + NULS[room - size]!;
      this.#dataLength += room;
    } else {
      this.#endTexts();
      this.#blocks.push([offset, block]);
      this.#dataLength += (block.length + 7) & ~7;
    }
    return offset;
  }

  #endTexts(): void {
    if (this.#texts !== "") this.#blocks.push([this.#textsOffset, this.#texts]);
    this.#texts = "";
  }

  /** Bytes of the list as the launcher reads it. */
  get size(): number {
    return LIST_HEADER + (CALL_SIZE + 8) * this.#length + this.#dataLength;
  }

  /** The list as the launcher reads it. InterposerError when it is longer than the launcher's buffer. */
  encode(): Buffer {
    const { size } = this;
    if (size > BUFFER_SIZE)
      throw new InterposerError(
        "bad-input",
        `what the program is started with takes ${size} bytes (arguments, environment and the host's files): ${BUFFER_SIZE} at most`,
      );
    const results = LIST_HEADER + CALL_SIZE * this.#length;
    const data = results + 8 * this.#length;
    const words = new Int32Array(size >> 2);
    put(words, 0, size);
    put(words, 2, this.#length);
    put(words, 4, BUFFER + results);
    words.set(this.#calls.subarray(0, this.#length * CALL_WORDS), HEADER_WORDS);
    const bytes = Buffer.from(words.buffer);
    this.#endTexts();
    for (const [offset, block] of this.#blocks) {
      if (typeof block === "string") bytes.write(block, data + offset);
      else bytes.set(block, data + offset);
    }
    // Addresses: the buffer lies so low that the upper halves stay 0.
    move(words, HEADER_WORDS, this.#toResults, BUFFER + results);
    move(words, HEADER_WORDS, this.#toData, BUFFER + data);
    move(words, data >> 2, this.#dataToData, BUFFER + data);
    return bytes;
  }

  /**
   * Takes what the launcher has answered.
   * @returns what belongs to the next list; throws the error of a call that the list cannot do without
   */
  answer(bytes: Buffer): Buffer {
    const pieces = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const view = new DataView(pieces.buffer, pieces.byteOffset);
    let at = 0;
    for (; at + 8 <= pieces.length && !this.done; at += 8) {
      const result = view.getInt32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
      const refused = result < 0 ? this.#refused.get(this.#results.length) : undefined;
      if (refused) throw refused(errnoName(-result));
      this.#results.push(result);
    }
    if (this.done) return pieces.subarray(at);
    this.#rest = Buffer.from(pieces.subarray(at));
    return Buffer.alloc(0);
  }

  /** Every call has been answered. */
  get done(): boolean {
    return this.#results.length === this.#length;
  }

  /** What a call that has been answered returned. */
  result({ index }: Result): number {
    return this.#results[index]!;
  }
}
