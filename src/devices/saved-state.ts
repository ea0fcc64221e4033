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

/** A model whose state can be taken out and put into another device of its kind, made with the same options. */
export interface SavableModel extends DeviceModel {
  /** Between two accesses. The device stays as it is. */
  save(): SavedState;
  /**
   * The device is from now on what the saved one was. What that was waiting for is asked for again.
   * @throws SavedStateError for what no device of its kind gave; then the device is as before
   */
  restore(state: SavedState): void;
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
