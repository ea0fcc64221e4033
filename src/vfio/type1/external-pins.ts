/** A page that a mediated device's driver holds (struct vfio_pfn). */
export interface ExternalPin {
  references: number;
  /** What AddressSpace.pin() returned for the one page. */
  readonly pin: number;
  /** Whether the page counts as locked memory. */
  readonly charged: boolean;
}

/** The pages of one mapping that mediated devices pinned through vfio_pin_pages(), by page number of the IOVA. */
export class ExternalPins {
  readonly #pins = new Map<number, ExternalPin>();

  get isEmpty(): boolean {
    return this.#pins.size === 0;
  }

  /** Pages that count as locked memory. */
  get charged(): number {
    let count = 0;
    for (const pin of this.#pins.values()) if (pin.charged) count++;
    return count;
  }

  iovaPages(): Iterable<number> {
    return this.#pins.keys();
  }

  /** Takes one more reference to a page that is held already; false when it is not. */
  again(iovaPage: number): boolean {
    const held = this.#pins.get(iovaPage);
    if (held) held.references++;
    return held !== undefined;
  }

  find(iovaPage: number): ExternalPin | undefined {
    return this.#pins.get(iovaPage);
  }

  add(iovaPage: number, pin: number, charged: boolean): void {
    this.#pins.set(iovaPage, { references: 1, pin, charged });
  }

  /** Gives one reference back; returns the page's pin when that was the last. */
  drop(iovaPage: number): ExternalPin | undefined {
    const held = this.#pins.get(iovaPage);
    if (!held || --held.references > 0) return undefined;
    this.#pins.delete(iovaPage);
    return held;
  }
}
