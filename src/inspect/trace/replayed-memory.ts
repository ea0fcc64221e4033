import type { Operation } from "../replay/operation.ts";

/** Bytes of a page of the shadow. */
const SHADOW = 4096;

/** One operation holds no more bytes of memory, and a page. */
const PIECE_MAX = 2 ** 20;

const NOTHING = { stores: [], dumps: [] };

type Protection = "none" | "r" | "rw";

/** Memory that a recording has declared, of one protection: a buffer or a part of it. */
interface Run {
  readonly name: string;
  /** Where the buffer begins. */
  readonly base: number;
  readonly start: number;
  readonly end: number;
  protection: Protection;
}

/** A part of a shadow page. */
interface Extent {
  readonly bytes: Uint8Array;
  low: number;
  high: number;
}

/** Where an address lies: a declared buffer, and bytes into it. */
export interface Place {
  readonly buf: string;
  readonly add: number;
}

/**
 * What whoever repeats a recording has in the place of one process's memory: the buffers that the recording declares,
 * their protection and their contents. A recorder says what the model touched; this says which operations must come
 * before, so that it finds the same there.
 */
export class ReplayedMemory {
  readonly #pageSize: number;
  /** What operations say that they are of; nothing for the first process. */
  readonly of: { readonly process?: number };
  readonly #newName: () => string;
  /** Ascending, without overlap. */
  readonly #runs: Run[] = [];
  readonly #shadow = new Map<number, Uint8Array>();
  #stores = new Map<number, Extent>();
  #dumps = new Map<number, Extent>();

  /**
   * @param pageSize of the host that repeats it
   * @param process the number of the process whose memory it is, from 1
   */
  constructor(pageSize: number, process: number, newName: () => string) {
    this.#pageSize = pageSize;
    this.of = process > 1 ? { process } : {};
    this.#newName = newName;
  }

  /**
   * Operations after which a range is there and may be read, or written.
   * @param kind "device" for memory of a device, which can be held but does not count as locked
   */
  declare(address: number, length: number, write: boolean, kind: "anon" | "device" = "anon"): Operation[] {
    const size = this.#pageSize;
    const end = Math.ceil((address + length) / size) * size;
    const wanted: Protection = write ? "rw" : "r";
    const made: Operation[] = [];
    let at = Math.floor(address / size) * size;
    for (let index = this.#after(at); at < end; index++) {
      const run = this.#runs[index];
      const gapEnd = run === undefined ? end : Math.min(run.start, end);
      if (at < gapEnd) {
        const added: Run = { name: this.#newName(), base: at, start: at, end: gapEnd, protection: wanted };
        this.#runs.splice(index, 0, added);
        made.push({
          op: "mmap",
          buf: added.name,
          size: gapEnd - at,
          prot: wanted,
          kind,
          addr: `0x${at.toString(16)}`,
          ...this.of,
          ret: 0,
          errno: null,
        });
        at = gapEnd;
        continue;
      }
      if (run === undefined) break;
      if (run.protection === "none" || (write && run.protection === "r")) made.push(this.#protect(run, wanted));
      at = run.end;
    }
    return made;
  }

  /** The program's memory refused an access: operations after which what was declared there refuses it too. */
  deny(address: number, length: number, write: boolean): Operation[] {
    const made: Operation[] = [];
    const size = this.#pageSize;
    const end = Math.ceil((address + length) / size) * size;
    this.#split(Math.floor(address / size) * size);
    this.#split(end);
    for (let index = this.#after(address); index < this.#runs.length; index++) {
      const run = this.#runs[index]!;
      if (run.start >= end) break;
      if (run.protection === "rw" && write) made.push(this.#protect(run, "r"));
      else if (run.protection !== "none" && !write) made.push(this.#protect(run, "none"));
    }
    return made;
  }

  find(address: number): Place | undefined {
    const run = this.#runs[this.#after(address)];
    return run && run.start <= address ? { buf: run.name, add: address - run.base } : undefined;
  }

  /** The model read these bytes: what differs from the shadow will be stored before. */
  wasRead(address: number, bytes: Uint8Array): void {
    this.#pieces(address, bytes, (page, within, piece) => {
      const shadow = this.#page(page);
      if (Buffer.compare(shadow.subarray(within, within + piece.length), piece) === 0) return;
      const extent = this.#stores.get(page) ?? { bytes: shadow.slice(), low: within, high: within + piece.length };
      extent.bytes.set(piece, within);
      shadow.set(piece, within);
      widen(extent, within, piece.length);
      this.#stores.set(page, extent);
    });
  }

  /** The model wrote these bytes: they will be compared afterwards. */
  wasWritten(address: number, bytes: Uint8Array): void {
    this.#pieces(address, bytes, (page, within, piece) => {
      const shadow = this.#page(page);
      shadow.set(piece, within);
      const extent = this.#dumps.get(page) ?? { bytes: shadow, low: within, high: within + piece.length };
      widen(extent, within, piece.length);
      this.#dumps.set(page, extent);
    });
  }

  /** `store` operations for what was read since the last time, and `dump` operations for what was written. */
  take(): { readonly stores: readonly Operation[]; readonly dumps: readonly Operation[] } {
    if (this.#stores.size === 0 && this.#dumps.size === 0) return NOTHING;
    const stores = this.#each(this.#stores, (place, hex) => ({ op: "store", ...place, in: hex, ...this.of }));
    const dumps = this.#each(this.#dumps, (place, hex, len) => ({ op: "dump", ...place, len, data: hex, ...this.of }));
    if (this.#stores.size > 0) this.#stores = new Map();
    if (this.#dumps.size > 0) this.#dumps = new Map();
    return { stores, dumps };
  }

  /** Joins extents of neighbouring pages; a buffer's end parts them. */
  #each(
    extents: ReadonlyMap<number, Extent>,
    make: (place: { buf: string; off: number }, hex: string, length: number) => Operation,
  ): Operation[] {
    const made: Operation[] = [];
    let parts: Uint8Array[] = [];
    let start = 0;
    let end = -1;
    const flush = () => {
      const place = parts.length > 0 ? this.find(start) : undefined;
      const bytes = Buffer.concat(parts);
      if (place) made.push(make({ buf: place.buf, off: place.add }, bytes.toString("hex"), bytes.length));
      parts = [];
    };
    for (const [page, { bytes, low, high }] of [...extents].sort(([a], [b]) => a - b)) {
      const at = page * SHADOW + low;
      if (at !== end || end - start >= PIECE_MAX || this.find(at)?.buf !== this.find(start)?.buf) {
        flush();
        start = at;
      }
      parts.push(bytes.slice(low, high));
      end = page * SHADOW + high;
    }
    flush();
    return made;
  }

  #pieces(address: number, bytes: Uint8Array, each: (page: number, within: number, piece: Uint8Array) => void): void {
    for (let done = 0; done < bytes.length; ) {
      const at = address + done;
      const within = at % SHADOW;
      const count = Math.min(bytes.length - done, SHADOW - within);
      each((at - within) / SHADOW, within, bytes.subarray(done, done + count));
      done += count;
    }
  }

  #protect(run: Run, protection: Protection): Operation {
    run.protection = protection;
    const { name: buf, start, end, base } = run;
    const size = end - start;
    return { op: "mprotect", buf, off: start - base, size, prot: protection, ret: 0, errno: null, ...this.of };
  }

  #page(page: number): Uint8Array {
    let bytes = this.#shadow.get(page);
    if (!bytes) {
      bytes = new Uint8Array(SHADOW);
      this.#shadow.set(page, bytes);
    }
    return bytes;
  }

  /** Makes a run end, and the next one begin, at an address. */
  #split(at: number): void {
    const index = this.#after(at);
    const run = this.#runs[index];
    if (run && run.start < at) this.#runs.splice(index, 1, { ...run, end: at }, { ...run, start: at });
  }

  /** Index of the first run that ends behind an address. */
  #after(address: number): number {
    let from = 0;
    let to = this.#runs.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#runs[middle]!.end > address) to = middle;
      else from = middle + 1;
    }
    return from;
  }
}

function widen(extent: Extent, within: number, length: number): void {
  extent.low = Math.min(extent.low, within);
  extent.high = Math.max(extent.high, within + length);
}
