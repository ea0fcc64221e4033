import type { MemoryObject } from "./model-object.ts";

/** mmap(): may not be accessed. */
export const PROT_NONE = 0;
/** mmap(): may be read. */
export const PROT_READ = 1;
/** mmap(): may be written. */
export const PROT_WRITE = 2;
/** mmap(): may be executed. */
export const PROT_EXEC = 4;

/** A mapping (the kernel's vm_area_struct). Addresses are page numbers; `end` is the first page behind it. */
export class Area {
  readonly start: number;
  readonly end: number;
  readonly object: MemoryObject;
  /** The object's page at `start`. */
  readonly first: number;
  /** A set of PROT_*. */
  readonly protection: number;
  readonly shared: boolean;

  constructor(start: number, end: number, object: MemoryObject, first: number, protection: number, shared: boolean) {
    this.start = start;
    this.end = end;
    this.object = object;
    this.first = first;
    this.protection = protection;
    this.shared = shared;
  }

  /** The first page that cannot be touched: the object can end before the mapping does. */
  reach(): number {
    return Math.min(this.end, this.start + this.object.pageCount() - this.first);
  }

  part(start: number, end: number, protection = this.protection): Area {
    return new Area(start, end, this.object, this.first + start - this.start, protection, this.shared);
  }
}

/** The mappings of a process, ascending and without overlap. */
export class AreaList implements Iterable<Area> {
  private areas: Area[] = [];
  /**
   * Where the last searches ended; copies come in runs, and calls take turns between their structure and what it is
   * about.
   */
  private last: Area | undefined;
  private lastButOne: Area | undefined;

  [Symbol.iterator](): Iterator<Area> {
    return this.areas[Symbol.iterator]();
  }

  /** The mapping that a page is in. */
  find(page: number): Area | undefined {
    const { last, lastButOne } = this;
    if (last !== undefined && page >= last.start && page < last.end) return last;
    if (lastButOne !== undefined && page >= lastButOne.start && page < lastButOne.end) {
      this.last = lastButOne;
      this.lastButOne = last;
      return lastButOne;
    }
    const area = this.areas[this.indexAfter(page) - 1];
    if (area === undefined || page >= area.end) return undefined;
    this.lastButOne = last;
    this.last = area;
    return area;
  }

  /** Takes out everything in a range of pages; mappings that reach beyond it are cut. Returns what was taken out. */
  cut(start: number, end: number): Area[] {
    this.last = undefined;
    this.lastButOne = undefined;
    let from = this.indexAfter(start) - 1;
    if (from < 0 || this.areas[from]!.end <= start) from++;
    const taken: Area[] = [];
    const kept: Area[] = [];
    let to = from;
    for (; to < this.areas.length && this.areas[to]!.start < end; to++) {
      const area = this.areas[to]!;
      if (area.start < start) kept.push(area.part(area.start, start));
      taken.push(area.part(Math.max(area.start, start), Math.min(area.end, end)));
      if (area.end > end) kept.push(area.part(end, area.end));
    }
    this.areas.splice(from, to - from, ...kept);
    return taken;
  }

  /** Puts a mapping where nothing is. */
  insert(area: Area): void {
    this.areas.splice(this.indexAfter(area.start), 0, area);
  }

  /** Where `pages` are free, at or above `from` and below `limit`, on a multiple of `align` pages. */
  gap(pages: number, from: number, limit: number, align: number): number | undefined {
    let start = Math.ceil(from / align) * align;
    for (let i = Math.max(0, this.indexAfter(start) - 1); i < this.areas.length; i++) {
      const area = this.areas[i]!;
      if (area.end <= start) continue;
      if (start + pages <= area.start) break;
      start = Math.ceil(area.end / align) * align;
    }
    return start + pages <= limit ? start : undefined;
  }

  /** How many mappings begin at or below a page. */
  private indexAfter(page: number): number {
    let low = 0;
    let high = this.areas.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.areas[middle]!.start <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
