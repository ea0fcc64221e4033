import { SavedStateError } from "../saved-state.ts";

/** Little-endian words of 32 bits. */
export function bytesOf(words: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * words.length);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of words.entries()) view.setUint32(4 * i, word, true);
  return bytes;
}

/** Reads a saved state from its beginning to its end. */
export class SavedWords {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #model: string;
  #at = 0;

  /** @param model for messages */
  constructor(bytes: Uint8Array, model: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#model = model;
  }

  /** The next words. @throws SavedStateError when there are not so many */
  take(count: number): Uint32Array {
    this.#mayTake(4 * count);
    const words = Uint32Array.from({ length: count }, (_, i) => this.#view.getUint32(this.#at + 4 * i, true));
    this.#at += 4 * count;
    return words;
  }

  /** The next bytes, copied. @throws SavedStateError when there are not so many */
  takeBytes(count: number): Uint8Array {
    this.#mayTake(count);
    const bytes = this.#bytes.slice(this.#at, this.#at + count);
    this.#at += count;
    return bytes;
  }

  /** @throws SavedStateError when something is left */
  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left !== 0) throw new SavedStateError(`${this.#model}: ${left} bytes are left over of the state`);
  }

  #mayTake(count: number): void {
    if (this.#at + count > this.#bytes.length)
      throw new SavedStateError(`${this.#model}: the state ends at byte ${this.#bytes.length}`);
  }
}
