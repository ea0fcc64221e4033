import type { DeviceModel } from "./device-model.ts";

/**
 * What a device is in the middle of its life, without its config space and its interrupt vectors: those are the
 * function's.
 */
export interface SavedState {
  /** Which form `bytes` have. A kind takes back every form that it ever gave. */
  readonly version: number;
  /** The state itself, as its model wrote it. */
  readonly bytes: Uint8Array;
}

/**
 * Memory of a device that goes with its state and may be large: a disk of memory, a region that is memory. It consists
 * of pieces; one that was never written is zeros and is no piece.
 */
export interface SavedMemory {
  /** Bytes of all of it. */
  readonly size: number;
  /** Bytes of a piece, at most 64 KiB. The last one may be shorter. */
  readonly pieceSize: number;
  /** A region, 0 to 5, whose bytes programs may have mapped: what they wrote is brought here before it is read. */
  readonly region?: number;
  /** The numbers of the pieces that there are, in no order. */
  pieces(): Iterable<number>;
  /** The bytes of a piece now; undefined for one that is zeros. */
  piece(number: number): Uint8Array | undefined;
  /** It has these pieces from now on, and no others. They are its own then. */
  replace(pieces: Map<number, Uint8Array>): void;
  /**
   * Tells of each piece that is written from now on, or that all are other ones; until it is called with `undefined`.
   * One may watch.
   */
  watch(written: ((piece: number | "all") => void) | undefined): void;
}

/**
 * A model whose state can be taken out and put into another device of its kind, made with the same options. Its device
 * can be migrated: VFIO_DEVICE_FEATURE_MIGRATION.
 */
export interface SavableModel extends DeviceModel {
  /** Between two accesses, or while it is paused. The device stays as it is. */
  save(): SavedState;
  /**
   * The device is from now on what the saved one was, and paused: it does nothing, and reaches nothing, before
   * resume(). Its `memories` have the bytes already that belong to it.
   * @throws SavedStateError for what no device of its kind gave; then the device is as before
   */
  restore(state: SavedState): void;
  /** Bytes that save() would give, estimated, where making them is much work. */
  savedSize?(): number;
  /**
   * Of a model whose state is in another process: gets it, in steps of at most a millisecond; save() gives it then.
   * @throws SavedStateError
   */
  fetchState?(): Generator<void, void>;
  /** The same as restore(), in such steps. */
  restoreInSteps?(state: SavedState): Generator<void, void>;
  /** What the device has of memory that goes with its state; always the same ones. None when left out. */
  readonly memories?: readonly SavedMemory[];
  /**
   * Begins nothing new from now on. What it has begun goes on, until its jobs are over and it is not busy. A model that
   * leaves it out does all that its registers were told.
   */
  pause?(): void;
  /**
   * Whether something that it has begun is not over, beside jobs that run.
   * @throws SavedStateError when it never will be
   */
  isBusy?(): boolean;
  /** Goes on after pause() or restore(): what it had put off is done, what waited is asked for again. */
  resume?(): void;
}

/** A saved state that the kind of device cannot take back. */
export class SavedStateError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "SavedStateError";
  }
}

/** Whether a device's kind says how its state is saved. */
export function isSavable(model: DeviceModel): model is SavableModel {
  return "save" in model && "restore" in model;
}
