import { SpanMap } from "../../address/span-map.ts";
import type { Rights } from "./event.ts";

/** A mapping as a picture has it. Inclusive bytes. */
export interface MappedSpan {
  readonly start: bigint;
  readonly last: bigint;
  readonly rw: Rights;
}

/** Of more mappings than that the outline is rough. */
const OUTLINED = 1024;

/**
 * What is mapped in one address space. Ranges are put and taken out whatever is there, so that telling something twice
 * changes nothing.
 */
export class Spans {
  readonly #map = new SpanMap<MappedSpan>();
  #bytes = 0n;

  get size(): number {
    return this.#map.size;
  }

  /** Bytes that are mapped. */
  get bytes(): bigint {
    return this.#bytes;
  }

  /** Puts a mapping in the place of what was there. @returns puts that back */
  put(span: MappedSpan): () => void {
    const back = this.takeOut(span.start, span.last);
    this.#add(span);
    return () => {
      this.#delete(span);
      back();
    };
  }

  /** Takes a range out. @returns puts back what was there */
  takeOut(start: bigint, last: bigint): () => void {
    const gone: MappedSpan[] = [];
    const rests: MappedSpan[] = [];
    for (let span = this.#map.meeting(start, last); span; span = this.#map.meeting(start, last)) {
      this.#delete(span);
      gone.push(span);
      if (span.start < start) rests.push(this.#add({ ...span, last: start - 1n }));
      if (span.last > last) rests.push(this.#add({ ...span, start: last + 1n }));
    }
    return () => {
      for (const rest of rests) this.#delete(rest);
      for (const span of gone) this.#add(span);
    };
  }

  /** The lowest that meets a range. */
  meeting(start: bigint, last: bigint): MappedSpan | undefined {
    return this.#map.meeting(start, last);
  }

  /** Those that meet a range, in order, at most so many. */
  within(start: bigint, last: bigint, most = Number.POSITIVE_INFINITY): MappedSpan[] {
    const found: MappedSpan[] = [];
    for (const span of this.#map.since(start)) {
      if (span.start > last || found.length >= most) break;
      found.push(span);
    }
    return found;
  }

  /** Roughly what is covered: of many mappings, neighbours together. */
  outline(): Iterable<{ readonly start: bigint; readonly last: bigint }> {
    return this.#map.size <= OUTLINED ? this.#map : this.#map.outline();
  }

  [Symbol.iterator](): Iterator<MappedSpan> {
    return this.#map[Symbol.iterator]();
  }

  #add(span: MappedSpan): MappedSpan {
    this.#map.add(span);
    this.#bytes += span.last - span.start + 1n;
    return span;
  }

  #delete(span: MappedSpan): void {
    this.#map.delete(span);
    this.#bytes -= span.last - span.start + 1n;
  }
}
