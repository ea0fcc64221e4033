import type { CPointer } from "./c-functions.ts";
import { loadKoffi } from "./load-koffi.ts";

const SHORT = 256;

/**
 * A block of memory outside of V8's heap whose address is known and never moves: what system calls read and fill. The
 * address is a number (user addresses are below 2^47), so that passing one allocates nothing.
 */
export class Arena {
  /** Address of the first byte. */
  readonly address: number;
  readonly size: number;
  readonly bytes: Buffer;
  readonly view: DataView;
  /** The same in words of 32 bits. */
  readonly words: Uint32Array;
  readonly #block: CPointer;

  /** @param size bytes */
  constructor(size: number) {
    const koffi = loadKoffi();
    const block = koffi.alloc("uint8_t", size);
    this.#block = block;
    const buffer = koffi.view(block, size);
    this.address = Number(koffi.address(block));
    this.size = size;
    this.bytes = Buffer.from(buffer);
    this.view = new DataView(buffer);
    this.words = new Uint32Array(buffer, 0, size >>> 2);
  }

  /** Gives the memory back, which the garbage collector does not. Nothing here may be used afterwards. */
  free(): void {
    loadKoffi().free(this.#block);
  }

  u32(at: number): number {
    return this.view.getUint32(at, true);
  }

  s32(at: number): number {
    return this.view.getInt32(at, true);
  }

  setU32(at: number, value: number): void {
    this.view.setUint32(at, value, true);
  }

  /** A 64-bit field as a number; exact below 2^53. */
  u64(at: number): number {
    return this.view.getUint32(at + 4, true) * 0x1_0000_0000 + this.view.getUint32(at, true);
  }

  /** Stores a number below 2^53 as a 64-bit field: an address, a size. */
  setU64(at: number, value: number): void {
    // a remainder takes a call
    const high = Math.trunc(value / 0x1_0000_0000);
    this.view.setUint32(at, value - high * 0x1_0000_0000, true);
    this.view.setUint32(at + 4, high, true);
  }

  /**
   * Zeroes `length` bytes at `at`, both multiples of 4. Short ones are not worth leaving JavaScript, as fill() does.
   */
  clear(at: number, length: number): void {
    const { words } = this;
    const end = (at + length) >>> 2;
    if (length > SHORT) words.fill(0, at >>> 2, end);
    else for (let word = at >>> 2; word < end; word++) words[word] = 0;
  }

  /** The same for a text of which each character is a byte (latin1), as paths are that may hold any bytes. */
  byteText(at: number, text: string): number {
    if (text.length >= this.size - at) throw new RangeError(`a text of ${text.length} bytes does not fit`);
    this.bytes[at + this.bytes.write(text, at, "latin1")] = 0;
    return this.address + at;
  }

  /** Stores `text` with its final NUL at `at`; returns the address of it. RangeError when it does not fit. */
  text(at: number, text: string): number {
    const length = this.bytes.write(text, at, this.size - at - 1, "utf8");
    if (length < text.length) throw new RangeError(`a text of ${text.length} characters does not fit`);
    this.bytes[at + length] = 0;
    return this.address + at;
  }
}
