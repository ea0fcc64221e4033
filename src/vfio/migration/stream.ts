import { createHash } from "node:crypto";
import { MOST_POSTED, type PostedWrite } from "../../devices/pci/activity.ts";
import type { SavedState } from "../../devices/saved-state.ts";
import { printable } from "../../kernel/printable.ts";

/**
 * The stream of a migration, as the data file gives and takes it: records of a type, a length and that many bytes, all
 * numbers little-endian. What a device is comes first. Its memory follows, piece by piece: a later piece of a number
 * takes the place of an earlier one. Then come the writes that it has not heard of yet, the interrupts that it has
 * not sent, its state, and the end with a hash of everything before it.
 */

export const HEAD = 8;
export const IDENTITY = 0x6f69_6676; // "vfio": what the device is, in words that must be the same on both sides
export const MEMORY = 1; // u32 which, u32 piece, bytes; none for a piece of zeros
export const WRITES = 2; // for each u32 region, u32 offset, u32 width, u32 0, u64 value
export const STATE = 3; // u32 version of the model's form, bytes
export const MESSAGES = 5; // u32 for each vector whose message is still to be sent
export const END = 4; // the hash

const MEMORY_HEAD = 8;
const WRITE_SIZE = 24;
const HASH_SIZE = 32;
/** Of MSI-X. */
const MOST_VECTORS = 2048;
/** Characters of somebody else's identity in a message. */
const MOST_SHOWN = 200;
/** Bytes of the longest record: a model's state, surely. */
export const LONGEST = 16 * 2 ** 20;

/** Bytes that a piece of memory takes in the stream. */
export function memoryRecordSize(bytes: number): number {
  return HEAD + MEMORY_HEAD + bytes;
}

/** Makes the records of a stream. */
export class StreamWriter {
  readonly #hash = createHash("sha256");

  identity(text: string): Uint8Array {
    return this.#record(IDENTITY, Buffer.from(text));
  }

  memory(which: number, piece: number, bytes: Uint8Array | undefined): Uint8Array {
    const head = Buffer.alloc(MEMORY_HEAD);
    head.writeUInt32LE(which, 0);
    head.writeUInt32LE(piece, 4);
    return this.#record(MEMORY, bytes === undefined ? head : Buffer.concat([head, bytes]));
  }

  writes(writes: readonly PostedWrite[]): Uint8Array {
    const bytes = Buffer.alloc(writes.length * WRITE_SIZE);
    for (const [i, { region, offset, width, value }] of writes.entries()) {
      for (const [word, number] of [region, offset, width].entries())
        bytes.writeUInt32LE(number, i * WRITE_SIZE + 4 * word);
      bytes.writeBigUInt64LE(value, i * WRITE_SIZE + 16);
    }
    return this.#record(WRITES, bytes);
  }

  messages(vectors: Iterable<number>): Uint8Array {
    return this.#record(MESSAGES, words(vectors));
  }

  state({ version, bytes }: SavedState): Uint8Array {
    const head = Buffer.alloc(4);
    head.writeUInt32LE(version);
    return this.#record(STATE, Buffer.concat([head, bytes]));
  }

  end(): Uint8Array {
    return record(END, this.#hash.digest());
  }

  #record(type: number, bytes: Uint8Array): Uint8Array {
    const whole = record(type, bytes);
    this.#hash.update(whole);
    return whole;
  }
}

function words(numbers: Iterable<number>): Uint8Array {
  const all = [...numbers];
  const bytes = Buffer.alloc(4 * all.length);
  for (const [i, number] of all.entries()) bytes.writeUInt32LE(number, 4 * i);
  return bytes;
}

function record(type: number, bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(HEAD + bytes.length);
  const view = new DataView(whole.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, bytes.length, true);
  whole.set(bytes, HEAD);
  return whole;
}

/** What is wrong with a stream, in words. */
export class StreamError extends Error {
  override readonly name = "StreamError";
}

/** Who takes what a stream has. */
export interface StreamTaker {
  /** What the device here is. */
  readonly identity: string;
  /** Throws StreamError for memory that it has not. */
  memory(which: number, piece: number, bytes: Uint8Array | undefined): void;
}

/** Takes a stream apart, in whatever portions it comes. */
export class StreamReader {
  writes: readonly PostedWrite[] = [];
  messages: readonly number[] = [];
  state: SavedState | undefined;
  /** Everything came, up to the end. */
  isWhole = false;
  readonly #taker: StreamTaker;
  readonly #hash = createHash("sha256");
  #isKnown = false;
  readonly #head = Buffer.alloc(HEAD);
  #record: Buffer | undefined;
  #filled = 0;

  constructor(taker: StreamTaker) {
    this.#taker = taker;
  }

  /** Throws StreamError. */
  take(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      if (this.isWhole) throw new StreamError("bytes follow its end");
      const target = this.#record ?? this.#head;
      const count = Math.min(target.length - this.#filled, bytes.length - done);
      target.set(bytes.subarray(done, done + count), this.#filled);
      this.#filled += count;
      done += count;
      if (this.#filled < target.length) return;
      if (this.#record === undefined) this.#begin();
      else this.#end(this.#record);
    }
  }

  #begin(): void {
    const type = this.#head.readUInt32LE(0);
    const length = this.#head.readUInt32LE(4);
    if (!this.#isKnown && type !== IDENTITY) throw new StreamError("it is no stream of a migration that uvfio made");
    if (length > LONGEST) throw new StreamError(`a record has ${length} bytes, more than any of a device`);
    this.#record = Buffer.alloc(HEAD + length);
    this.#head.copy(this.#record);
    this.#filled = HEAD;
    if (length === 0) this.#end(this.#record);
  }

  #end(record: Buffer): void {
    const type = record.readUInt32LE(0);
    const bytes = record.subarray(HEAD);
    this.#record = undefined;
    this.#filled = 0;
    if (type === END) {
      if (!bytes.equals(this.#hash.digest())) throw new StreamError("it was changed on its way");
      if (!this.state) throw new StreamError("it has no state");
      this.isWhole = true;
      return;
    }
    this.#hash.update(record);
    switch (type) {
      case IDENTITY: {
        const theirs = bytes.toString();
        if (theirs !== this.#taker.identity)
          throw new StreamError(
            `it is of another device: "${printable(theirs, MOST_SHOWN)}", and this is "${this.#taker.identity}"`,
          );
        this.#isKnown = true;
        return;
      }
      case MEMORY:
        if (bytes.length < MEMORY_HEAD) throw new StreamError("a piece of memory has no number");
        this.#taker.memory(
          bytes.readUInt32LE(0),
          bytes.readUInt32LE(4),
          bytes.length > MEMORY_HEAD ? bytes.subarray(MEMORY_HEAD) : undefined,
        );
        return;
      case WRITES:
        this.writes = readWrites(bytes);
        return;
      case MESSAGES:
        this.messages = readMessages(bytes);
        return;
      case STATE:
        if (bytes.length < 4) throw new StreamError("the state has no version");
        this.state = { version: bytes.readUInt32LE(0), bytes: bytes.subarray(4) };
        return;
    }
    throw new StreamError(`it has a record of type ${type}, which nobody knows`);
  }
}

function readMessages(bytes: Buffer): readonly number[] {
  const count = bytes.length / 4;
  if (!Number.isInteger(count) || count > MOST_VECTORS)
    throw new StreamError(`its messages have ${bytes.length} bytes`);
  const vectors = Array.from({ length: count }, (_, i) => bytes.readUInt32LE(4 * i));
  const bad = vectors.find((vector) => vector >= MOST_VECTORS);
  if (bad !== undefined) throw new StreamError(`it has a message of vector ${bad}`);
  return vectors;
}

function readWrites(bytes: Buffer): readonly PostedWrite[] {
  const count = bytes.length / WRITE_SIZE;
  if (!Number.isInteger(count) || count > MOST_POSTED) throw new StreamError(`its writes have ${bytes.length} bytes`);
  return Array.from({ length: count }, (_, i) => {
    const [region, offset, width] = [0, 4, 8].map((at) => bytes.readUInt32LE(i * WRITE_SIZE + at));
    if (width !== 1 && width !== 2 && width !== 4 && width !== 8)
      throw new StreamError(`it has a write of ${width} bytes`);
    return { region: region!, offset: offset!, width, value: bytes.readBigUInt64LE(i * WRITE_SIZE + 16) };
  });
}

/** Bytes of the end. */
export const END_SIZE = HEAD + HASH_SIZE;
