import fs from "node:fs";
import { koffi } from "../native/koffi.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { pread, pwrite, syscall } from "./libc.ts";
import { MAP_SHARED, PROT_READ, PROT_WRITE } from "./linux.ts";

/** Bytes of a window; windows begin at multiples of it. */
const SIZE = 2 ** 20;
/** As many bytes as are read by a window. */
const FEW = 4096;
/** Windows of a file at a time. */
const MAX_WINDOWS = 32;

interface Window {
  readonly address: number;
  readonly bytes: Uint8Array;
  /** The same, by the size of what is replaced in one step. */
  readonly words: ReadonlyMap<number, Words>;
}

/** How Atomics see memory; numbers of 64 bits are bigints. */
type Words = Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

const WORDS = [Uint8Array, Uint16Array, Uint32Array, BigUint64Array] as const;

/**
 * Writes to a file in memory that programs have too, and reads what lies there. Through mappings of it, because a
 * write() takes the file's lock, which a program can hold for as long as it likes: by a write() of its own from memory
 * that does not come.
 */
export class FileWindows {
  readonly #fd: number;
  readonly #windows = new Map<number, Window>();
  #size: number | undefined;

  /** @param fd a file whose size does not change */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** What lies behind the end of the file is left out. */
  write(offset: number, from: Uint8Array): void {
    this.#size ??= fs.fstatSync(this.#fd).size;
    const length = Math.min(from.length, this.#size - offset);
    for (let done = 0; done < length; ) {
      const at = (offset + done) % SIZE;
      const part = Math.min(length - done, SIZE - at);
      const window = this.#window(offset + done - at);
      const piece = part === from.length ? from : from.subarray(done, done + part);
      if (window !== undefined) window.bytes.set(piece, at);
      // No more mappings: as a last resort.
      else pwrite(this.#fd, piece, offset + done);
      done += part;
    }
  }

  /**
   * Writes one word, of 1, 2, 4 or 8 bytes and aligned, unless a program has changed it. In one step of the processor,
   * so that what a program writes at the same time is not lost.
   * @returns whether it was as expected
   */
  replace(offset: number, expected: Uint8Array, by: Uint8Array): boolean {
    this.#size ??= fs.fstatSync(this.#fd).size;
    if (offset + by.length > this.#size) return false;
    const at = offset % SIZE;
    const window = this.#window(offset - at);
    const words = window?.words.get(by.length);
    if (words !== undefined && at % by.length === 0) return exchange(words, at / by.length, expected, by);
    // no more mappings, or no word: as good as can be
    const now = Buffer.alloc(by.length);
    pread(this.#fd, now, offset);
    if (!now.equals(expected)) return false;
    this.write(offset, by);
    return true;
  }

  /**
   * Reads a few bytes that are near to some that were written, without a system call. False when it has to be read from
   * the file: what was never written would take memory here.
   */
  read(offset: number, into: Uint8Array): boolean {
    const at = offset % SIZE;
    const window = this.#windows.get(offset - at);
    if (window === undefined || into.length > FEW || at + into.length > SIZE) return false;
    this.#size ??= fs.fstatSync(this.#fd).size;
    if (offset + into.length > this.#size) return false;
    into.set(window.bytes.subarray(at, at + into.length));
    return true;
  }

  close(): void {
    for (const start of [...this.#windows.keys()]) this.#unmap(start);
  }

  #window(start: number): Window | undefined {
    const known = this.#windows.get(start);
    if (known !== undefined) return known;
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size < MAX_WINDOWS) break;
      this.#unmap(oldest);
    }
    const address = syscall(HOST_CALLS.mmap, 0, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, this.#fd, start);
    if (address < 0) return undefined;
    const memory = koffi.view(address, SIZE);
    const words = new Map(WORDS.map((Kind) => [Kind.BYTES_PER_ELEMENT, new Kind(memory)] as const));
    const window = { address, bytes: new Uint8Array(memory), words };
    this.#windows.set(start, window);
    return window;
  }

  #unmap(start: number): void {
    const window = this.#windows.get(start);
    this.#windows.delete(start);
    if (window !== undefined) syscall(HOST_CALLS.munmap, window.address, SIZE);
  }
}

function exchange(words: Words, index: number, expected: Uint8Array, by: Uint8Array): boolean {
  if (words instanceof BigUint64Array) {
    const old = bigWord(expected);
    return Atomics.compareExchange(words, index, old, bigWord(by)) === old;
  }
  const old = word(expected);
  return Atomics.compareExchange(words, index, old, word(by)) === old;
}

/** Bytes as the processor takes them for a number of at most 32 bits. */
function word(bytes: Uint8Array): number {
  let value = 0;
  for (let i = bytes.length - 1; i >= 0; i--) value = value * 256 + bytes[i]!;
  return value;
}

function bigWord(bytes: Uint8Array): bigint {
  return (BigInt(word(bytes.subarray(4))) << 32n) | BigInt(word(bytes.subarray(0, 4)));
}
