import type { IovaRange } from "../../address/iova-ranges.ts";
import { type Span, SpanMap } from "../../address/span-map.ts";
import type { AddressSpace } from "../../kernel/address-space.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import { PageCounts } from "./page-counts.ts";
import type { PageSource } from "./page-source.ts";
import type { PinAccount } from "./pin-account.ts";

/** Pages that are held together. Inclusive page numbers of the source. */
interface Run extends Span {
  readonly pin: number;
}

/** Who needs a range of pages held: an area of an address space that has page tables. Inclusive page numbers. */
export type Holder = IovaRange;

/**
 * Memory that one or more areas map (struct iopt_pages): IOMMU_IOAS_COPY and the splitting of areas share it. However
 * many need a page, it is held and counted once.
 */
export class MappedPages {
  readonly source: PageSource;
  /** Whether devices may ever write it: decided when it was mapped first. */
  readonly writable: boolean;
  readonly pageSize: number;
  /** Of the first page: a user address, or bytes into the file. */
  readonly address: bigint;
  account: PinAccount;
  /** Pages that count (npinned). */
  pinned = 0;
  /** Who has them: their maker, and areas (kref). */
  #references = 1;
  readonly #holders = new Set<Holder>();
  /** By how many holders each page is needed. */
  readonly #needed = new PageCounts();
  readonly #runs = new SpanMap<Run>();

  constructor(
    source: PageSource,
    address: bigint,
    options: { readonly writable: boolean; readonly pageSize: number; readonly account: PinAccount },
  ) {
    this.source = source;
    this.address = address;
    this.writable = options.writable;
    this.pageSize = options.pageSize;
    this.account = options.account;
  }

  /** One more area maps them. */
  get(): void {
    this.#references++;
  }

  /** One fewer has them. What the last one leaves goes back: a file is closed. */
  put(): void {
    if (--this.#references === 0) this.source.release();
  }

  /**
   * Holds the pages of `holder` until letGo(). All of them or none; memory that cannot be held is found out before the
   * limit.
   * @throws KernelError EFAULT, EINVAL, ENOMEM
   */
  hold(holder: Holder): void {
    const added = this.#needed.missing(holder);
    const made: Run[] = [];
    try {
      for (const gap of [...this.#gaps(holder)]) made.push(this.#pin(gap, this.writable));
      this.account.charge(added);
    } catch (error) {
      for (const run of made) this.source.unpin(run.pin);
      throw error;
    }
    this.pinned += added;
    for (const run of made) this.#runs.add(run);
    this.#needed.add(holder);
    this.#holders.add(holder);
  }

  /**
   * The pages of `holder` are held and counted already, by the pin `pin`: they are its from now on. Of new ones only.
   */
  adopt(holder: Holder, pin: number): void {
    this.pinned = Number(holder.last - holder.start) + 1;
    this.#runs.add({ ...holder, pin });
    this.#needed.add(holder);
    this.#holders.add(holder);
  }

  /** Pages that nobody else needs no longer count. Memory of a run stays held until none of its pages is needed. */
  letGo(holder: Holder): void {
    if (!this.#holders.delete(holder)) return;
    this.#needed.subtract(holder);
    const gone = this.#needed.missing(holder);
    this.pinned -= gone;
    this.account.uncharge(gone);
    const { start, last } = holder;
    const unneeded: Run[] = [];
    for (const run of this.#runs.since(start)) {
      if (run.start > last) break;
      if (!this.#needed.has(run)) unneeded.push(run);
    }
    for (const run of unneeded) this.#letGoRun(run);
  }

  /** One holder becomes two that need the same pages together. */
  split(holder: Holder, parts: readonly Holder[]): void {
    if (!this.#holders.delete(holder)) return;
    this.#needed.subtract(holder);
    for (const part of parts) {
      this.#needed.add(part);
      this.#holders.add(part);
    }
  }

  /** DMA from held pages: `offset` in bytes from the first page. */
  read(offset: bigint, into: Uint8Array): void {
    this.#each(offset, into, (run, within, piece) => this.source.read(run.pin, Number(run.start), within, piece));
  }

  /** DMA to held pages. */
  write(offset: bigint, from: Uint8Array): void {
    this.#each(offset, from, (run, within, piece) => this.source.write(run.pin, Number(run.start), within, piece));
  }

  /**
   * A driver reads bytes without holding them (pages.c:iopt_pages_rw_access): memory of the caller's own process by its
   * addresses, all else page by page, from what is held where it is.
   * @param caller whose call it is; undefined for a thread of the kernel's own, which works in the memory's process
   * @throws KernelError EFAULT, EINVAL
   */
  copyFrom(caller: AddressSpace | undefined, offset: bigint, into: Uint8Array): void {
    if (this.source.copyFrom(caller, offset, into)) return;
    this.#whilePinned(offset, into, false, () => this.read(offset, into));
  }

  /** The same, written; by an area that is writeable, so that the memory is. */
  copyTo(caller: AddressSpace | undefined, offset: bigint, from: Uint8Array): void {
    if (this.source.copyTo(caller, offset, from)) return;
    this.#whilePinned(offset, from, true, () => this.write(offset, from));
  }

  /** Pins what nobody holds for as long as `work` takes. It does not count. */
  #whilePinned(offset: bigint, bytes: Uint8Array, write: boolean, work: () => void): void {
    const size = BigInt(this.pageSize);
    const window = { start: offset / size, last: (offset + BigInt(bytes.length) - 1n) / size };
    const made: Run[] = [];
    try {
      for (const gap of [...this.#gaps(window)]) {
        const run = this.#pin(gap, write);
        made.push(run);
        this.#runs.add(run);
      }
      work();
    } finally {
      for (const run of made) this.#letGoRun(run);
    }
  }

  /** Which page is held for a byte; undefined when none is, or nobody can tell (AddressSpace.pageIdentity). */
  identityOf(offset: bigint): string | undefined {
    const page = offset / BigInt(this.pageSize);
    const run = this.#runs.meeting(page, page);
    return run && this.source.identity(run.pin, Number(run.start), Number(page - run.start));
  }

  /**
   * The pages that somebody needs, one after the other: a kernel holds no others of a run. Nothing may be held or let
   * go meanwhile.
   */
  *heldPages(): Generator<string | undefined> {
    for (const { pin, start, last } of this.#runs) {
      for (let page = start; page <= last; page++) {
        if (!this.#needed.has({ start: page, last: page })) continue;
        yield this.source.identity(pin, Number(start), Number(page - start));
      }
    }
  }

  /** Whether these pages of the source are in one huge page. */
  inOneHugePage({ start, last }: Holder): boolean {
    const shift = this.source.hugePageShift(Number(start));
    const address = this.address - (this.address % BigInt(this.pageSize));
    const huge = (page: bigint) => (address + page * BigInt(this.pageSize)) >> BigInt(shift);
    return shift > 0 && huge(start) === huge(last);
  }

  /** What of a range is not held. */
  #gaps({ start, last }: IovaRange): Iterable<Span> {
    return this.#runs.holes(start, last, 1n);
  }

  #pin({ start, last }: IovaRange, write: boolean): Run {
    faultPoint("fail_iommufd", "EFAULT");
    return { start, last, pin: this.source.pin(Number(start), Number(last - start) + 1, write) };
  }

  #letGoRun(run: Run): void {
    this.source.unpin(run.pin);
    this.#runs.delete(run);
  }

  #each(offset: bigint, bytes: Uint8Array, each: (run: Run, within: number, piece: Uint8Array) => void): void {
    for (let done = 0; done < bytes.length; ) {
      const at = Number(offset) + done;
      const page = Math.floor(at / this.pageSize);
      const run = this.#runs.meeting(BigInt(page), BigInt(page));
      if (!run) throw new Error(`page ${page} of a mapping is not held`);
      const within = at - Number(run.start) * this.pageSize;
      const count = Math.min(bytes.length - done, Number(run.last - run.start + 1n) * this.pageSize - within);
      each(run, within, bytes.subarray(done, done + count));
      done += count;
    }
  }
}
