import { ERRNO } from "../uapi/errno.ts";
import { AddressSpace } from "./address-space.ts";
import { fail, hex } from "./errors.ts";
import { Area, AreaList, PROT_NONE, PROT_READ, PROT_WRITE } from "./model-areas.ts";
import { AnonymousMemory, MemoryFile, type MemoryObject, PrivateCopy } from "./model-pages.ts";
import { type HeldRun, PinTable } from "./model-pins.ts";
import { StructureWindow } from "./structure-window.ts";
import type { Word } from "./word.ts";

/** End of user addresses: 47 bits, as on x86-64 with four levels. */
const USER_SPACE_END = 2 ** 47;
/**
 * Where mappings go that name no address. Far from both ends, so that odd addresses in tests hit nothing, and low
 * enough that page numbers are small integers to V8, which makes objects of larger ones when it hands them around.
 */
const MMAP_BASE = 2 ** 42;
const NUL = 0;

export interface MmapOptions {
  /** Where exactly (MAP_FIXED: what is there goes away); anywhere when left out. Page-aligned. */
  readonly address?: number;
  /** Bytes; rounded up to pages. */
  readonly length: number;
  /** A set of PROT_*. */
  readonly protection: number;
  /** What is mapped; private zeros when left out. */
  readonly object?: MemoryObject;
  /** Bytes into the object. Page-aligned. */
  readonly offset?: number;
  /** Whether writes reach the object (and forks). */
  readonly shared?: boolean;
  /** Bytes that a chosen address is a multiple of. */
  readonly align?: number;
  /** log2 of the bytes of huge pages (MAP_HUGETLB) that private memory consists of. */
  readonly hugePageShift?: number;
}

/**
 * A process's memory in this process: sparse, so that terabytes can be mapped for nothing, and with the protection of
 * each page, so that copies and pins fail where the kernel's would.
 */
export class ModelMemory extends AddressSpace {
  override readonly pageSize: number;
  override readonly littleEndian: boolean;
  /** Pages that the program itself locked (mlock). */
  foreignLocked = 0;

  private readonly areas: AreaList;
  private readonly pins = new PinTable();
  private readonly structures = new StructureWindow();
  private searchFrom: number;

  constructor(pageSize = 4096, littleEndian = true) {
    super();
    if (pageSize < 4096 || !Number.isInteger(Math.log2(pageSize))) fail("EINVAL", `no page has ${pageSize} bytes`);
    this.pageSize = pageSize;
    this.littleEndian = littleEndian;
    this.areas = new AreaList();
    this.searchFrom = MMAP_BASE / pageSize;
  }

  override foreignLockedPages(): number {
    return this.foreignLocked;
  }

  /**
   * Makes a mapping and returns its address. EINVAL for lengths and addresses that are no whole pages, ENOMEM beyond
   * the end of user addresses.
   */
  mmap(options: MmapOptions): number {
    const { length, protection, offset = 0, shared = false, hugePageShift } = options;
    const object = hugePageShift === undefined ? options.object : this.hugeMemory(length, hugePageShift);
    const pages = this.wholePages(length);
    if (pages === 0) fail("EINVAL", "a mapping of 0 bytes");
    const first = this.pageOf(offset, "offset");
    const start =
      options.address === undefined
        ? this.findRoom(pages, hugePageShift === undefined ? options.align : 2 ** hugePageShift)
        : this.fixed(options.address, pages);
    this.remove(start, start + pages);
    this.areas.insert(
      new Area(start, start + pages, ...this.backing(object, first, pages, shared), protection, shared),
    );
    return start * this.pageSize;
  }

  /** A new object for shared anonymous memory, which a fork and other mappings see. */
  memfd(size: number): MemoryFile {
    return new MemoryFile(this.pageSize, size);
  }

  /** Takes mappings away; holes are no error. */
  munmap(address: number, length: number): void {
    const start = this.pageOf(address, "address");
    const pages = this.wholePages(length);
    if (pages === 0) fail("EINVAL", "unmapping 0 bytes");
    if (start + pages > this.endPage) fail("EINVAL", `${hex(address)} is no user address`);
    this.remove(start, start + pages);
  }

  /** Changes the protection up to the first hole, which is ENOMEM. */
  mprotect(address: number, length: number, protection: number): void {
    const start = this.pageOf(address, "address");
    const end = start + this.wholePages(length);
    if (end === start) return;
    let at = start;
    this.structures.forget();
    for (const area of this.areas.cut(start, end)) {
      // The areas are out; those behind a hole go back as they were.
      const reached = area.start === at;
      if (reached) at = area.end;
      this.areas.insert(reached ? area.part(area.start, area.end, protection) : area);
    }
    if (at < end) fail("ENOMEM", `nothing is mapped at ${hex(at * this.pageSize)}`);
  }

  /** madvise(MADV_DONTNEED): private pages are zeros again. What is held for DMA stays with the device. */
  discard(address: number, length: number): void {
    const start = this.pageOf(address, "address");
    const end = start + this.wholePages(length);
    for (const area of this.areas) {
      const from = Math.max(area.start, start);
      const to = Math.min(area.end, end);
      if (from < to && !area.shared) area.object.discard(area.first + from - area.start, to - from);
    }
  }

  /**
   * The memory of a child: private memory as it is now, shared memory shared. Pins and locked pages stay with the
   * parent.
   */
  fork(): ModelMemory {
    const child = new ModelMemory(this.pageSize, this.littleEndian);
    const copies = new Map<MemoryObject, MemoryObject>();
    for (const { start, end, object, first, protection, shared } of this.areas) {
      const copy = shared ? object : (copies.get(object) ?? object.clone());
      copies.set(object, copy);
      child.areas.insert(new Area(start, end, copy, first, protection, shared));
    }
    child.searchFrom = this.searchFrom;
    return child;
  }

  override copyIn(address: Word, into: Uint8Array, length: number, words?: Int32Array): void {
    if (words !== undefined && typeof address === "number" && this.structures.read(address, words, length)) return;
    let at = this.userRange(address, length);
    for (let done = 0; done < length; ) {
      const area = this.accessible(at, PROT_READ | PROT_WRITE);
      const count = Math.min(length - done, area.reach() * this.pageSize - at);
      if (words !== undefined) this.structures.remember(area, this.pageSize);
      area.object.readPart(this.offsetIn(area, at), into, done, count);
      done += count;
      at += count;
    }
  }

  override copyOut(address: Word, from: Uint8Array, length: number, words?: Int32Array): void {
    if (words !== undefined && typeof address === "number" && this.structures.write(address, words, length)) return;
    let at = this.userRange(address, length);
    for (let done = 0; done < length; ) {
      const area = this.accessible(at, PROT_WRITE);
      const count = Math.min(length - done, area.reach() * this.pageSize - at);
      area.object.writePart(this.offsetIn(area, at), from, done, count);
      done += count;
      at += count;
    }
  }

  override copyString(address: Word, max: number): string {
    let at = this.userRange(address, 0);
    const bytes = new Uint8Array(max);
    for (let done = 0; done < max; ) {
      // Page by page: what lies behind the NUL need not be readable.
      const count = Math.min(max - done, this.pageSize - (at % this.pageSize));
      const piece = bytes.subarray(done, done + count);
      this.copyIn(at, piece, count);
      const end = piece.indexOf(NUL);
      if (end >= 0) return new TextDecoder().decode(bytes.subarray(0, done + end));
      done += count;
      at += count;
    }
    fail("EINVAL", `the string at ${hex(address)} is not over after ${max} bytes`);
  }

  override pin(vaddr: number, pages: number, write: boolean, budget: number): number {
    return this.pinPages(vaddr / this.pageSize, pages, write, budget);
  }

  override pinFrom(page: number, pages: number, write: boolean, budget: number): number {
    return this.pinPages(this.pageSize === 4096 ? page : page / (this.pageSize / 4096), pages, write, budget);
  }

  override pinFast(vaddr: number, pages: number, write: boolean): number {
    return this.pinPages(vaddr / this.pageSize, pages, write, Number.POSITIVE_INFINITY, true);
  }

  /**
   * @param start a page
   * @param fast whether pages that are there can be read whatever the mapping allows, as x86 has no other way
   */
  private pinPages(start: number, pages: number, write: boolean, budget: number, fast = false): number {
    const wanted = write ? PROT_WRITE : PROT_READ;
    const end = start + pages;
    // what lies in one area, as nearly all does, takes no list
    let runs: HeldRun[] | undefined;
    let charged = 0;
    for (let page = start; page < end; ) {
      const area = this.areas.find(page);
      if (area === undefined) return -ERRNO.EFAULT;
      const count = Math.min(end, area.reach()) - page;
      const first = area.first + page - area.start;
      // Unlike the processor, which reads what it may write, pin_user_pages() wants exactly this permission.
      const isAllowed =
        (area.protection & wanted) !== 0 || (fast && wanted === PROT_READ && isThere(area, first, count));
      if (count <= 0 || !isAllowed) return -ERRNO.EFAULT;
      if (!area.object.device) charged += count;
      if (charged > budget) return -ERRNO.ENOMEM;
      if (count === pages) {
        this.charged = charged;
        return this.pins.hold(area.object, first, count);
      }
      runs ??= [];
      runs.push({ object: area.object, first, pages: count, at: page - start });
      page += count;
    }
    this.charged = charged;
    return this.pins.holdSeveral(runs ?? []);
  }

  override pinnable(vaddr: number, pages: number, write: boolean): number {
    const start = Math.floor(vaddr / this.pageSize);
    let page = start;
    while (page < start + pages) {
      const area = this.areas.find(page);
      const isAllowed = area !== undefined && (area.protection & (write ? PROT_WRITE : PROT_READ)) !== 0;
      if (!isAllowed || area.object.device || area.reach() <= page) break;
      page = Math.min(start + pages, area.reach());
    }
    return page - start;
  }

  override hugePageShift(vaddr: number): number {
    return this.areas.find(Math.floor(vaddr / this.pageSize))?.object.hugePageShift ?? 0;
  }

  override pageIdentity(vaddr: number): string | undefined {
    const page = Math.floor(vaddr / this.pageSize);
    const area = this.areas.find(page);
    return area?.object.pageIdentity(area.first + page - area.start);
  }

  override heldIdentity(pin: number, _vaddr: number, page: number): string | undefined {
    const runs = this.pins.runs(pin);
    const run = runs[runAt(runs, page)];
    return run?.object.pageIdentity(run.first + page - run.at);
  }

  /** Lets go of what a pin holds. */
  override unpin(pin: number): void {
    this.pins.letGo(pin);
  }

  override readPinned(pin: number, _vaddr: number, offset: number, into: Uint8Array): void {
    const object = this.wholeIn(pin, offset, into.length);
    if (object !== undefined) object.read(this.pins.firstOf(pin) * this.pageSize + offset, into);
    else this.eachHeld(pin, offset, into, (run, at, piece) => run.read(at, piece));
  }

  override writePinned(pin: number, _vaddr: number, offset: number, from: Uint8Array): void {
    const object = this.wholeIn(pin, offset, from.length);
    if (object !== undefined) object.write(this.pins.firstOf(pin) * this.pageSize + offset, from);
    else this.eachHeld(pin, offset, from, (run, at, piece) => run.write(at, piece));
  }

  /** How many pins there are: for leak checks in tests. */
  get pinCount(): number {
    return this.pins.size;
  }

  /** The object behind a pin, when the pin is one run that holds all these bytes. */
  private wholeIn(pin: number, offset: number, length: number): MemoryObject | undefined {
    const { pins } = this;
    return offset + length <= pins.pagesOf(pin) * this.pageSize ? pins.objectOf(pin) : undefined;
  }

  private eachHeld(
    pin: number,
    offset: number,
    bytes: Uint8Array,
    each: (object: MemoryObject, at: number, piece: Uint8Array) => void,
  ): void {
    const runs = this.pins.runs(pin);
    const { pageSize } = this;
    let done = 0;
    for (let i = runAt(runs, Math.floor(offset / pageSize)); done < bytes.length; i++) {
      const run = runs[i];
      if (run === undefined) fail("EFAULT", `pin ${pin} ends before offset ${hex(offset + bytes.length)}`);
      const within = offset + done - run.at * pageSize;
      const count = Math.min(bytes.length - done, run.pages * pageSize - within);
      if (count <= 0) fail("EFAULT", `pin ${pin} ends before offset ${hex(offset + bytes.length)}`);
      each(run.object, run.first * pageSize + within, bytes.subarray(done, done + count));
      done += count;
    }
  }

  private get endPage(): number {
    return USER_SPACE_END / this.pageSize;
  }

  private wholePages(length: number): number {
    return Math.ceil(length / this.pageSize);
  }

  private pageOf(bytes: number, what: string): number {
    const page = bytes / this.pageSize;
    if (!Number.isInteger(page) || page < 0) fail("EINVAL", `the ${what} ${hex(bytes)} is not page-aligned`);
    return page;
  }

  private fixed(address: number, pages: number): number {
    const start = this.pageOf(address, "address");
    if (start + pages > this.endPage) fail("ENOMEM", `${hex(address)} is beyond the end of user addresses`);
    return start;
  }

  /** Upwards and then from the beginning, with a page between mappings so that overruns show. */
  private findRoom(pages: number, alignBytes = this.pageSize): number {
    const align = Math.max(1, alignBytes / this.pageSize);
    const find = (from: number) => this.areas.gap(pages, from, this.endPage, align);
    const start = find(this.searchFrom) ?? find(MMAP_BASE / this.pageSize);
    if (start === undefined) fail("ENOMEM", `no room for ${hex(pages * this.pageSize)} bytes`);
    this.searchFrom = start + pages + 1;
    return start;
  }

  private backing(
    object: MemoryObject | undefined,
    first: number,
    pages: number,
    shared: boolean,
  ): [MemoryObject, number] {
    if (object === undefined) {
      return [shared ? this.memfd(pages * this.pageSize) : new AnonymousMemory(this.pageSize), 0];
    }
    if (object.pageSize !== this.pageSize) fail("EINVAL", `the object's pages have ${object.pageSize} bytes`);
    if (object.hugePageShift > 0) return [object, first];
    return shared || object.device ? [object, first] : [new PrivateCopy(object, first), 0];
  }

  private hugeMemory(length: number, hugePageShift: number): MemoryObject {
    if (length % 2 ** hugePageShift !== 0) fail("EINVAL", `${hex(length)} bytes are not whole huge pages`);
    const object = new AnonymousMemory(this.pageSize);
    object.hugePageShift = hugePageShift;
    return object;
  }

  private remove(start: number, end: number): void {
    this.structures.forget();
    this.pins.forgetIdle();
    for (const area of this.areas.cut(start, end)) area.object.forget(area.first, area.end - area.start);
  }

  private userRange(address: Word, length: number): number {
    // access_ok() looks at the whole range before anything is copied.
    const start = Number(address);
    if (start < 0 || start + length > USER_SPACE_END) fail("EFAULT", `${hex(address)} is no user address`);
    return start;
  }

  private accessible(address: number, anyOf: number): Area {
    const page = Math.floor(address / this.pageSize);
    const area = this.areas.find(page);
    if (area === undefined) fail("EFAULT", `nothing is mapped at ${hex(address)}`);
    if ((area.protection & anyOf) === 0) {
      fail("EFAULT", `${hex(address)} is mapped, but not for ${anyOf === PROT_WRITE ? "writing" : "reading"}`);
    }
    if (page >= area.reach()) fail("EFAULT", `${hex(address)} is behind the end of the file that is mapped there`);
    return area;
  }

  private offsetIn(area: Area, address: number): number {
    return (area.first - area.start) * this.pageSize + address;
  }
}

/** Whether a program has touched all these pages of a mapping. */
function isThere({ protection, object }: Area, first: number, count: number): boolean {
  return protection !== PROT_NONE && object.hasPages(first, count);
}

/** The run that a page of a pin is in. */
function runAt(runs: readonly HeldRun[], page: number): number {
  let low = 0;
  let high = runs.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (runs[middle]!.at <= page) low = middle;
    else high = middle - 1;
  }
  return low;
}
