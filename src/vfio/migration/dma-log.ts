import { DirtyPages } from "../../address/dirty-pages.ts";
import type { PciFunction } from "../../devices/pci/function.ts";

/** A range of IOVA, in bytes, both ends included. */
export interface LoggedRange {
  readonly start: bigint;
  readonly last: bigint;
}

/** Bytes of the pages that a device can note its writes by: powers of two between these. */
const SMALLEST = 4096n;
const LARGEST = 1n << 30n;

/** Which pages a device has written by DMA while somebody was told to look (vfio_log_ops). */
export class DmaLog {
  readonly #target: PciFunction;
  #dirty: DirtyPages | undefined;
  #pageSize = SMALLEST;

  constructor(target: PciFunction) {
    this.#target = target;
  }

  get isActive(): boolean {
    return this.#dirty !== undefined;
  }

  /**
   * @param wanted bytes of a page
   * @returns what they are
   */
  start(ranges: readonly LoggedRange[], wanted: bigint): bigint {
    const power = 1n << BigInt(wanted.toString(2).length - 1);
    this.#pageSize = power < SMALLEST ? SMALLEST : power > LARGEST ? LARGEST : power;
    const dirty = new DirtyPages(this.#pageSize);
    dirty.isTracking = true;
    this.#dirty = dirty;
    const written = (iova: bigint, length: number) => {
      const end = iova + BigInt(length) - 1n;
      for (const { start, last } of ranges) {
        const from = iova > start ? iova : start;
        const to = end < last ? end : last;
        if (from <= to) dirty.written(from, Number(to - from) + 1);
      }
    };
    this.#target.onDmaWrite = written;
    this.#target.model.ownWrites?.start(ranges, this.#pageSize, written);
    return this.#pageSize;
  }

  /** Nothing when it was not on. */
  stop(): void {
    if (this.#dirty) this.#target.model.ownWrites?.stop();
    this.#dirty = undefined;
    this.#target.onDmaWrite = undefined;
  }

  /** Tells the written parts of a range; they are clean then. */
  take(start: bigint, last: bigint, tell: (first: bigint, last: bigint) => void): void {
    const size = this.#pageSize;
    if (this.#dirty) this.#target.model.ownWrites?.collect(start, last);
    this.#dirty?.each(start, last, (page) => {
      const from = BigInt(page) * size;
      const to = from + size - 1n;
      tell(from > start ? from : start, to < last ? to : last);
    });
    this.#dirty?.clear(start, last);
  }
}
