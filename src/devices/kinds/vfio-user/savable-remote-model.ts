import type { DeviceBus } from "../../device-model.ts";
import type { SavableModel, SavedState } from "../../saved-state.ts";
import type { RemoteDevice } from "./remote-device.ts";
import { RemoteMigration } from "./remote-migration.ts";
import { RemoteModel } from "./remote-model.ts";

/** A device elsewhere whose server gives and takes its state. */
export class SavableRemoteModel extends RemoteModel implements SavableModel {
  readonly #migration: RemoteMigration;

  constructor(bus: DeviceBus, remote: RemoteDevice) {
    super(bus, remote);
    this.#migration = new RemoteMigration(remote, remote.migration);
  }

  pause(): void {
    this.dma.hold();
    this.#migration.pause();
  }

  isBusy(): boolean {
    return this.#migration.isBusy();
  }

  resume(): void {
    this.#migration.resume();
    this.dma.goOn();
    this.renew();
  }

  savedSize(): number {
    return this.#migration.size();
  }

  fetchState(): Generator<void, void> {
    return this.#migration.fetch();
  }

  save(): SavedState {
    return this.#migration.save();
  }

  /** In steps only: nobody waits for all of it in one call. */
  restore(state: SavedState): void {
    for (const _ of this.restoreInSteps(state));
  }

  restoreInSteps(state: SavedState): Generator<void, void> {
    this.dma.hold();
    return this.#migration.restore(state);
  }

  protected override resetServer(): void {
    if (!this.#migration.isHeld) {
      super.resetServer();
      return;
    }
    this.#migration.reset();
    this.dma.goOn();
  }
}
