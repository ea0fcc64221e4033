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

interface Call {
  readonly number: number;
  readonly args: readonly (number | Result | Data)[];
  readonly refused: Refused | undefined;
}

/** A text (its NUL comes with the size), bytes, or 64-bit words. */
type Block = string | Uint8Array | readonly (number | Data)[];

/** By their number: a text has one at least, and as many as it takes to a multiple of 8. */
const NULS = Array.from({ length: 9 }, (_, count) => "\0".repeat(count));

function sizeOf(block: Block): number {
  if (typeof block === "string") return Buffer.byteLength(block);
  return block instanceof Uint8Array ? block.length : block.length << 3;
}

/** System calls for the launcher to make one after the other (see launcher-image.ts for the format). */
export class CallList {
  readonly #calls: Call[] = [];
  /** `room`: bytes of the block in the list, a multiple of 8. */
  readonly #data: { readonly block: Block; readonly size: number; readonly room: number }[] = [];
  #dataLength = 0;
  readonly #results: number[] = [];
  #rest = Buffer.alloc(0);

  /**
   * Appends a call. A failure is the caller's to look at, or nobody's.
   * @param refused given, the list ends with this error when the call fails
   */
  call(number: number, args: readonly Argument[], refused?: Refused): Result {
    const placed: (number | Result | Data)[] = [];
    for (const arg of args) placed.push(this.#place(arg));
    this.#calls.push({ number, args: placed, refused });
    return new Result(this.#calls.length - 1);
  }

  /** An array of 64-bit words in the launcher's memory; texts and bytes become their addresses. */
  words(values: readonly (number | string | Uint8Array | Data)[]): Data {
    return this.#store(values.map((value) => this.#place(value) as number | Data));
  }

  #place(arg: Argument): number | Result | Data {
    return typeof arg === "string" || arg instanceof Uint8Array ? this.#store(arg) : arg;
  }

  #store(block: Block): Data {
    const data = new Data(this.#dataLength);
    const size = sizeOf(block);
    const room = typeof block === "string" ? ((size >> 3) + 1) << 3 : (size + 7) & ~7;
    this.#data.push({ block, size, room });
    this.#dataLength += room;
    return data;
  }

  /** Bytes of the list as the launcher reads it. */
  get size(): number {
    return LIST_HEADER + (CALL_SIZE + 8) * this.#calls.length + this.#dataLength;
  }

  /** The list as the launcher reads it. InterposerError when it is longer than the launcher's buffer. */
  encode(): Buffer {
    const results = LIST_HEADER + CALL_SIZE * this.#calls.length;
    const data = results + 8 * this.#calls.length;
    const length = data + this.#dataLength;
    if (length > BUFFER_SIZE)
      throw new InterposerError(
        "bad-input",
        `what the program is started with takes ${length} bytes (arguments, environment and the host's files): ${BUFFER_SIZE} at most`,
      );
    const words = new Int32Array(Math.ceil(length / 8) * 2);
    const bytes = Buffer.from(words.buffer);
    const put = (at: number, value: number | Result | Data) => {
      const number =
        typeof value === "number"
          ? value
          : BUFFER + (value instanceof Data ? data + value.offset : results + 8 * value.index);
      words[at >> 2] = number;
      words[(at >> 2) + 1] = Math.floor(number / 0x1_0000_0000);
    };
    put(0, length);
    put(8, this.#calls.length);
    put(16, BUFFER + results);
    let at = LIST_HEADER;
    for (const { number, args, refused } of this.#calls) {
      let flags = refused ? FLAG_REQUIRED : 0;
      put(at, number);
      for (let n = 0; n < args.length; n++) {
        const arg = args[n]!;
        if (arg !== 0) put(at + 8 * (n + 1), arg);
        if (arg instanceof Result) flags |= 1 << n;
      }
      words[(at + 56) >> 2] = flags;
      at += CALL_SIZE;
    }
    at = data;
    // Texts that follow each other are written as one: each write costs more than what it writes.
    let texts = "";
    let textsAt = at;
    for (const { block, size, room } of this.#data) {
      if (typeof block === "string") {
        if (texts === "") textsAt = at;
        texts += block + NULS[room - size]!;
      } else {
        if (texts !== "") bytes.write(texts, textsAt);
        texts = "";
        if (block instanceof Uint8Array) bytes.set(block, at);
        else for (const [n, word] of block.entries()) put(at + 8 * n, word);
      }
      at += room;
    }
    if (texts !== "") bytes.write(texts, textsAt);
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
      const refused = result < 0 ? this.#calls[this.#results.length]?.refused : undefined;
      if (refused) throw refused(errnoName(-result));
      this.#results.push(result);
    }
    if (this.done) return pieces.subarray(at);
    this.#rest = Buffer.from(pieces.subarray(at));
    return Buffer.alloc(0);
  }

  /** Every call has been answered. */
  get done(): boolean {
    return this.#results.length === this.#calls.length;
  }

  /** What a call that has been answered returned. */
  result({ index }: Result): number {
    return this.#results[index]!;
  }
}
