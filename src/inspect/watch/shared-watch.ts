import type { ModelWatch } from "../../vfio/model-watch.ts";

/** Watches of a host's devices that come and go. */
export class SharedWatch implements ModelWatch {
  readonly #watches = new Set<ModelWatch>();

  /** @returns ends it */
  add(watch: ModelWatch): () => void {
    this.#watches.add(watch);
    return () => this.#watches.delete(watch);
  }

  readonly dma: NonNullable<ModelWatch["dma"]> = (...access) => {
    for (const watch of this.#watches) {
      const reason = watch.dma?.(...access);
      if (reason !== undefined) return reason;
    }
    return undefined;
  };

  readonly dmaDone: NonNullable<ModelWatch["dmaDone"]> = (...access) => {
    for (const watch of this.#watches) watch.dmaDone?.(...access);
  };

  readonly registerWritten: NonNullable<ModelWatch["registerWritten"]> = (...write) => {
    for (const watch of this.#watches) watch.registerWritten?.(...write);
  };

  readonly interrupt: NonNullable<ModelWatch["interrupt"]> = (...raised) => {
    for (const watch of this.#watches) watch.interrupt?.(...raised);
  };

  readonly worked: NonNullable<ModelWatch["worked"]> = (pieces) => {
    for (const watch of this.#watches) watch.worked?.(pieces);
  };
}
