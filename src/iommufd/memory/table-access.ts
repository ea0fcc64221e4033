import type { PinnedPage } from "../../devices/mediated/mediated-model.ts";
import { fail, hex, hexRange } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Area } from "./area.ts";
import type { DriverAccess, IoPageTable } from "./io-page-table.ts";
import type { Holder } from "./mapped-pages.ts";

const END = 2n ** 64n;

/** A page that a driver holds, perhaps several times (struct iopt_pages_access). */
interface HeldPage {
  readonly area: Area;
  readonly holder: Holder;
  references: number;
}

/** Pages of a range of IOVAs that a driver holds together. */
export interface PinnedRange {
  /** In order: which memory, and the first and the last of its pages that are held. */
  readonly pieces: readonly { readonly area: Area; readonly holder: Holder }[];
}

/** How a driver uses mappings. */
export interface AccessOptions {
  /** What mappings must be a multiple of, bytes; the page when left out, as holding pages takes (iova_alignment). */
  readonly alignment?: bigint;
  /** What it holds keeps its mapping from being unmapped: nobody asks it to give that back (an internal access). */
  readonly locks?: boolean;
}

/**
 * A mediated device's driver at the mappings of an address space (device.c:iommufd_access_pin_pages,
 * iommufd_access_rw). What is pinned is given back exactly as it was pinned there; the drivers here pin each page by
 * itself, so that they can give each back by itself.
 */
export class TableAccess implements DriverAccess {
  readonly #table: IoPageTable;
  readonly #unmap: (iova: bigint, length: bigint) => void;
  readonly #held = new Map<bigint, HeldPage>();
  readonly #ranges = new Set<PinnedRange>();
  readonly alignment: bigint;
  readonly #locks: boolean;

  /**
   * @param unmap has the driver give back all that it holds of a range
   * @throws KernelError EADDRINUSE (mappings of part pages)
   */
  constructor(
    table: IoPageTable,
    unmap: (iova: bigint, length: bigint) => void,
    { alignment = table.pageSize, locks = false }: AccessOptions = {},
  ) {
    this.#table = table;
    this.#unmap = unmap;
    this.alignment = alignment;
    this.#locks = locks;
    table.addAccess(this);
  }

  /** The driver leaves: it gives everything back first (device.c:iommufd_access_change_ioas). */
  close(): void {
    this.#unmap(0n, END - 1n);
    for (const range of this.#ranges) this.unpinRange(range);
    if (this.#held.size > 0) throw new Error(`a driver keeps ${this.#held.size} pages of what it leaves`);
    this.#table.removeAccess(this);
  }

  unmap(iova: bigint, length: bigint): void {
    this.#unmap(iova, length);
  }

  /**
   * Holds pages, all or none.
   * @param iova a multiple of the page
   * @throws KernelError EINVAL, EOVERFLOW, ENOENT (not mapped), EPERM (not mapped for that), EFAULT, ENOMEM
   * (RLIMIT_MEMLOCK)
   */
  pin(caller: Task | undefined, iova: bigint, count: number, write: boolean): readonly PinnedPage[] {
    const { pageSize } = this.#table;
    if (count === 0) fail("EINVAL", "no pages are to be pinned");
    this.#refuseWrap(iova, BigInt(count) * pageSize);
    const pages: PinnedPage[] = [];
    try {
      for (let i = 0; i < count; i++) pages.push(this.#pinOne(caller, iova + BigInt(i) * pageSize, write));
    } catch (error) {
      this.unpin(iova, pages.length);
      throw error;
    }
    return pages;
  }

  /** Gives one reference to each page back. */
  unpin(iova: bigint, count: number): void {
    for (let i = 0; i < count; i++) {
      const at = iova + BigInt(i) * this.#table.pageSize;
      const held = this.#held.get(at);
      if (!held) continue;
      held.area.accesses--;
      if (--held.references > 0) continue;
      this.#held.delete(at);
      held.area.pages.letGo(held.holder);
    }
  }

  /**
   * Holds the pages of a range together, all or none (device.c:iommufd_access_pin_pages).
   * @throws KernelError as pin(), and EINVAL where mappings meet within a page
   */
  pinRange(caller: Task | undefined, iova: bigint, length: bigint, write: boolean): PinnedRange {
    if (length === 0n) fail("EINVAL", "no bytes are to be held");
    this.#refuseWrap(iova, length);
    const { pageSize } = this.#table;
    const last = iova + length - 1n;
    const pieces: { area: Area; holder: Holder }[] = [];
    const range: PinnedRange = { pieces };
    this.#ranges.add(range);
    try {
      for (let at = iova; at <= last; ) {
        const area = this.#areaAt(at, write);
        const end = area.last < last ? area.last : last;
        const isWhole = area.offsetOf(at) % pageSize === 0n;
        if (!isWhole || (end < last && area.offsetOf(end + 1n) % pageSize !== 0n)) {
          fail("EINVAL", `${area.label} has no whole pages there`);
        }
        if (caller) area.pages.account.hear(caller);
        const holder = { start: area.offsetOf(at) / pageSize, last: area.offsetOf(end) / pageSize };
        area.pages.hold(holder);
        area.accesses++;
        if (this.#locks) area.locks++;
        pieces.push({ area, holder });
        at = end + 1n;
      }
    } catch (error) {
      this.unpinRange(range);
      throw error;
    }
    return range;
  }

  /** Gives all of a range back. */
  unpinRange(range: PinnedRange): void {
    if (!this.#ranges.delete(range)) return;
    for (const { area, holder } of range.pieces) {
      area.accesses--;
      if (this.#locks) area.locks--;
      area.pages.letGo(holder);
    }
  }

  /** Reads memory without holding it; what lies before the byte that refuses is read. The errors are those of pin(). */
  read(caller: Task | undefined, iova: bigint, into: Uint8Array): void {
    this.#each(iova, into, false, (area, at, piece) => area.pages.copyFrom(caller?.memory, area.offsetOf(at), piece));
  }

  write(caller: Task | undefined, iova: bigint, from: Uint8Array): void {
    this.#each(iova, from, true, (area, at, piece) => area.pages.copyTo(caller?.memory, area.offsetOf(at), piece));
  }

  #pinOne(caller: Task | undefined, iova: bigint, write: boolean): PinnedPage {
    const area = this.#areaAt(iova, write);
    const { pages } = area;
    const offset = area.offsetOf(iova);
    const held = this.#held.get(iova);
    if (held) {
      held.references++;
    } else {
      const page = offset / this.#table.pageSize;
      const holder = { start: page, last: page };
      if (caller) pages.account.hear(caller);
      pages.hold(holder);
      this.#held.set(iova, { area, holder, references: 1 });
    }
    area.accesses++;
    return {
      read: (at, into) => pages.read(offset + BigInt(at), into),
      write: (at, from) => pages.write(offset + BigInt(at), from),
    };
  }

  #each(
    iova: bigint,
    bytes: Uint8Array,
    write: boolean,
    each: (area: Area, at: bigint, piece: Uint8Array) => void,
  ): void {
    if (bytes.length === 0) fail("EINVAL", "no bytes are to be moved");
    this.#refuseWrap(iova, BigInt(bytes.length));
    for (let done = 0; done < bytes.length; ) {
      const at = iova + BigInt(done);
      const area = this.#areaAt(at, write);
      const rest = area.last - at + 1n;
      const count = Math.min(bytes.length - done, Number(rest));
      each(area, at, bytes.subarray(done, done + count));
      done += count;
    }
  }

  #areaAt(iova: bigint, write: boolean): Area {
    const area = this.#table.areas.meeting(iova, iova) ?? fail("ENOENT", `iova ${hex(iova)} is not mapped`);
    if (area.isClosing) fail("EINVAL", `${area.label} is being unmapped`);
    if (!(write ? area.writeable : area.readable)) {
      fail("EPERM", `${area.label} does not allow a mediated device to ${write ? "write" : "read"} it`);
    }
    if (area.kind === "dmabuf") fail("EINVAL", `${area.label} is of a dma-buf, which no driver reaches`);
    return area;
  }

  #refuseWrap(iova: bigint, length: bigint): void {
    if (iova + length > END) fail("EOVERFLOW", `${hexRange(iova, iova + length - 1n)} runs past 2^64`);
  }
}
