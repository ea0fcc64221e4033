import { fail } from "../kernel/errors.ts";

/** Bits of one report: 128 GiB of pages of 4 KiB. */
const MOST_PAGES = 2n ** 25n;

/** What a device has written since it was last asked (VFIO_DEVICE_FEATURE_DMA_LOGGING_*), by page. */
export class DirtyLog {
  #shift: bigint | undefined;
  readonly #pages = new Set<bigint>();

  get isOn(): boolean {
    return this.#shift !== undefined;
  }

  /**
   * Once more with the same page size changes nothing, as in libvfio-user.
   * @param pageSize bytes, a power of two; EINVAL for others, and for another one while it is on
   */
  start(pageSize: bigint): void {
    if (this.#shift !== undefined) {
      if (pageSize === 1n << this.#shift) return;
      fail("EINVAL", `DMA logging is on already, by pages of ${1n << this.#shift} bytes`);
    }
    if (pageSize < 4096n || (pageSize & (pageSize - 1n)) !== 0n)
      fail("EINVAL", `${pageSize} is no page size of 4096 or more`);
    this.#shift = BigInt(pageSize.toString(2).length - 1);
    this.#pages.clear();
  }

  stop(): void {
    this.#shift = undefined;
    this.#pages.clear();
  }

  wrote(address: bigint, length: number): void {
    const shift = this.#shift;
    if (shift === undefined || length === 0) return;
    const last = (address + BigInt(length) - 1n) >> shift;
    for (let page = address >> shift; page <= last; page++) this.#pages.add(page);
  }

  /**
   * A bit for each page of a range, which count as clean from now on. EINVAL while it is off, for another page size,
   * and for a range of too many pages.
   */
  report(address: bigint, length: bigint, pageSize: bigint): Uint8Array {
    const shift = this.#shift;
    if (shift === undefined) fail("EINVAL", "DMA logging is off");
    if (pageSize !== 1n << shift) fail("EINVAL", `DMA is logged by pages of ${1n << shift} bytes, not ${pageSize}`);
    const count = (length + pageSize - 1n) >> shift;
    if (length === 0n || count > MOST_PAGES) fail("EINVAL", `a report has 1 to ${MOST_PAGES} pages, not ${count}`);
    const bitmap = new Uint8Array(8 * Math.ceil(Number(count) / 64));
    const first = address >> shift;
    for (const page of this.#pages) {
      const bit = page - first;
      if (bit < 0n || bit >= count) continue;
      bitmap[Number(bit >> 3n)]! |= 1 << Number(bit & 7n);
      this.#pages.delete(page);
    }
    return bitmap;
  }
}
