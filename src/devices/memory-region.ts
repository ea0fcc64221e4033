import type { AccessWidth, RegionMemory, RegionPart } from "./device-model.ts";
import { Pieces } from "./pieces.ts";
import type { SavedMemory } from "./saved-state.ts";

const PAGE = 4096;

/** A region that is plain memory: what was written can be read back. Pages take memory once they are written. */
export class MemoryRegion implements RegionMemory {
  readonly #pages = new Pieces(PAGE);
  readonly #initial: Uint8Array;

  /** @param initial what its first bytes are after reset; the rest is 0 */
  constructor(initial: Uint8Array = new Uint8Array()) {
    this.#initial = initial;
    this.reset();
  }

  /** The value of `width` bytes, little-endian. */
  read(offset: number, width: AccessWidth): bigint {
    let value = 0n;
    for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#byte(offset + i));
    return value;
  }

  /** Writes the low `width` bytes of a value. */
  write(offset: number, width: AccessWidth, value: bigint): void {
    for (let i = 0; i < width; i++) this.#set(offset + i, Number((value >> BigInt(i * 8)) & 0xffn));
  }

  /** Fills `into` from there. */
  readBytes(offset: number, into: Uint8Array): void {
    for (const { page, within, done, count } of pieces(offset, into.length)) {
      const bytes = this.#pages.get(page);
      if (bytes === undefined) into.fill(0, done, done + count);
      else into.set(bytes.subarray(within, within + count), done);
    }
  }

  /** Writes all of `from` there. */
  writeBytes(offset: number, from: Uint8Array): void {
    for (const { page, within, done, count } of pieces(offset, from.length)) {
      this.#pages.write(page).set(from.subarray(done, done + count), within);
    }
  }

  /** The pages that were written, in no order. */
  *pages(): Iterable<RegionPart> {
    for (const [number, bytes] of this.#pages) yield { offset: number * PAGE, bytes };
  }

  /** It is as after reset. */
  reset(): void {
    this.#pages.clear();
    for (const [offset, byte] of this.#initial.entries()) if (byte !== 0) this.#set(offset, byte);
  }

  /**
   * What of it goes with a device's state: all that was written.
   * @param size bytes
   * @param region which of the device's it is
   */
  saved(size: number, region?: number): SavedMemory {
    return this.#pages.saved(size, region);
  }

  #byte(offset: number): number {
    return this.#pages.get(Math.floor(offset / PAGE))?.[offset % PAGE] ?? 0;
  }

  #set(offset: number, byte: number): void {
    this.#pages.write(Math.floor(offset / PAGE))[offset % PAGE] = byte;
  }
}

/** The pages that a run of bytes lies in. */
function* pieces(offset: number, length: number) {
  for (let done = 0; done < length; ) {
    const page = Math.floor((offset + done) / PAGE);
    const within = offset + done - page * PAGE;
    const count = Math.min(PAGE - within, length - done);
    yield { page, within, done, count };
    done += count;
  }
}
