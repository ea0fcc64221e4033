import type { SavedMemory } from "../../devices/saved-state.ts";
import { END_SIZE, HEAD, memoryRecordSize, StreamWriter } from "./stream.ts";

/** A record, or what is left of one. */
export interface StreamPart {
  readonly bytes: Uint8Array;
  /** It belongs to what there was when saving began. */
  readonly isInitial: boolean;
}

/** What of one memory is to be sent. */
interface Pending {
  readonly memory: SavedMemory;
  /** Pieces that there were at first, or since it was all made anew. */
  initial: Set<number>;
  /** Pieces that changed after they were sent. */
  readonly dirty: Set<number>;
  /** Pieces that the other side has. */
  readonly sent: Set<number>;
}

/** The records of a device that is being saved, made when they are read. */
export class SavingStream {
  /** There is more to read, or less. */
  onChange: () => void = () => {};
  /** All memory was made anew since somebody asked last, so that what was sent is worth nothing. */
  isAnew = false;
  readonly #identity: string;
  readonly #pending: readonly Pending[];
  readonly #writer = new StreamWriter();
  readonly #pull: (memory: SavedMemory, piece: number) => void;
  #isBegun = false;
  /** Makes what ends it, since the device does not change any more. */
  #finish: ((writer: StreamWriter) => Uint8Array[]) | undefined;
  #last: Uint8Array[] | undefined;

  /** @param pull brings what programs have written to a mapped piece to the device */
  constructor(identity: string, memories: readonly SavedMemory[], pull: (memory: SavedMemory, piece: number) => void) {
    this.#identity = identity;
    this.#pull = pull;
    this.#pending = memories.map((memory) => ({
      memory,
      initial: new Set(memory.pieces()),
      dirty: new Set(),
      sent: new Set(),
    }));
    for (const pending of this.#pending) pending.memory.watch((piece) => this.#note(pending, piece));
  }

  get isComplete(): boolean {
    return this.#finish !== undefined || this.#last !== undefined;
  }

  get hasMore(): boolean {
    if (!this.#isBegun || this.#finish || this.#last?.length) return true;
    return this.#pending.some(({ initial, dirty }) => initial.size > 0 || dirty.size > 0);
  }

  /** Estimates in bytes. */
  get remaining(): { readonly initial: number; readonly dirty: number } {
    const bytes = (of: "initial" | "dirty") =>
      this.#pending.reduce((sum, each) => sum + each[of].size * memoryRecordSize(each.memory.pieceSize), 0);
    return { initial: bytes("initial") + (this.#isBegun ? 0 : HEAD + this.#identity.length), dirty: bytes("dirty") };
  }

  /**
   * The device does not change any more.
   * @param last makes the records that come after its memory
   */
  complete(last: (writer: StreamWriter) => Uint8Array[]): void {
    this.stop();
    this.#finish = last;
    this.onChange();
  }

  /** The next record; undefined when there is nothing for the moment, or no more. */
  next(): StreamPart | undefined {
    if (!this.#isBegun) {
      this.#isBegun = true;
      return { bytes: this.#writer.identity(this.#identity), isInitial: true };
    }
    for (const [which, { memory, initial, dirty, sent }] of this.#pending.entries()) {
      for (const set of [initial, dirty]) {
        for (const piece of set) {
          // what it brings is noted as a change, which is just being sent
          this.#pull(memory, piece);
          initial.delete(piece);
          dirty.delete(piece);
          sent.add(piece);
          return { bytes: this.#writer.memory(which, piece, memory.piece(piece)), isInitial: set === initial };
        }
      }
    }
    if (this.#finish) {
      this.#last = this.#finish(this.#writer);
      this.#finish = undefined;
    }
    const bytes = this.#last?.shift();
    return bytes && { bytes, isInitial: false };
  }

  /** Nothing is noted any more. */
  stop(): void {
    for (const { memory } of this.#pending) memory.watch(undefined);
  }

  #note(pending: Pending, piece: number | "all"): void {
    const { memory, initial, dirty, sent } = pending;
    if (piece !== "all") {
      if (!initial.has(piece)) dirty.add(piece);
    } else {
      pending.initial = new Set([...memory.pieces(), ...sent]);
      dirty.clear();
      this.isAnew = true;
    }
    this.onChange();
  }
}

/** Bytes of a stream beside its memory and its state. */
export function frameSize(identity: string): number {
  return 4 * HEAD + 4 + identity.length + END_SIZE;
}
