import type { SavedMemory } from "../saved-state.ts";

/** Where a device keeps blocks: a file, or memory. Offsets and lengths are in bytes and lie inside it. */
export interface Disk {
  /** Bytes. */
  readonly size: number;
  /** Nothing may be written to it. */
  readonly isReadOnly: boolean;
  /** Throws DiskError. */
  read(offset: number, into: Uint8Array): void;
  /** Throws DiskError. */
  write(offset: number, from: Uint8Array): void;
  /**
   * The bytes are zeros from now on, and take no more room than before. A piece of at most PIECE bytes at a time,
   * because a file has to be looked at for it. Throws DiskError.
   */
  zero(offset: number, length: number): void;
  /**
   * What holds no data in memory or in the file is skipped: the first byte from `offset` on that may not be zero, or
   * `end`.
   */
  nextData(offset: number, end: number): number;
  /**
   * Has all that was written survive a crash of the machine. `done` may be called before this returns, and later where
   * the storage is slow.
   * @param done told whether that worked
   */
  flush(done: (worked: boolean) => void): void;
  /** Where its content is memory: it goes with the state of its device. A file is where it is. */
  readonly memory?: SavedMemory;
}

/** The most bytes that one call of a Disk moves: surely less than a millisecond. */
export const PIECE = 64 * 1024;

/** The storage below did not do what it was told. */
export class DiskError extends Error {
  override readonly name = "DiskError";
}
