/** Something that covers [start, last], inclusive bytes. */
export interface Span {
  readonly start: bigint;
  readonly last: bigint;
}

/** Spans in one chunk: an insertion moves half of them on average. */
const CHUNK = 128;

/**
 * Spans that do not overlap, to the byte, in order of their addresses: what iommufd keeps in an interval tree. Sorted
 * chunks, found by two binary searches; a chunk knows how large the holes between its spans are, so that room is found
 * without looking at each. IntervalMap is the faster kind for page-aligned runs of numbers.
 */
export class SpanMap<S extends Span> implements Iterable<S> {
  /** Never without a chunk; only the first may be empty, when there is no other. */
  #chunks: S[][] = [[]];
  /** By chunk: no hole in front of one of its spans has more bytes. It may be too large, until somebody has looked. */
  #holeBounds: number[] = [0];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  *[Symbol.iterator](): Iterator<S> {
    for (const chunk of this.#chunks) yield* chunk;
  }

  /** What chunks of spans cover, from their first byte to their last: an outline of many. */
  *outline(): Generator<Span> {
    for (const chunk of this.#chunks)
      if (chunk.length > 0) yield { start: chunk[0]!.start, last: chunk[chunk.length - 1]!.last };
  }

  /** The spans that end at or above `address`, in order. Nothing may be added or taken out meanwhile. */
  *since(address: bigint): Generator<S> {
    let index = this.#chunkOf(address);
    let at = indexFrom(this.#chunks[index]!, address);
    for (; index < this.#chunks.length; index++, at = 0) {
      const chunk = this.#chunks[index]!;
      for (; at < chunk.length; at++) yield chunk[at]!;
    }
  }

  /**
   * The parts of [start, last] that no span meets and that have `length` bytes at least, in order. Nothing may be added
   * or taken out meanwhile.
   */
  *holes(start: bigint, last: bigint, length: bigint): Generator<Span> {
    const wanted = Number(length);
    const first = this.#chunkOf(start);
    const final = this.#chunkOf(last);
    let free = start;
    for (let index = first; index <= final; index++) {
      if (index > first) {
        if (this.#holeBounds[index]! < wanted) continue;
        free = this.#endBefore(index, 0);
      }
      const chunk = this.#chunks[index]!;
      let largest = 0n;
      for (let at = index === first ? indexFrom(chunk, start) : 0; at < chunk.length; at++) {
        const span = chunk[at]!;
        const size = span.start - free;
        if (span.start > last) {
          if (last - free + 1n >= length) yield { start: free, last };
          return;
        }
        if (size >= length) yield { start: free, last: span.start - 1n };
        if (size > largest) largest = size;
        free = span.last + 1n;
      }
      if (index > first) this.#holeBounds[index] = Number(largest);
    }
    // all of them, or the last one, lie before the end: what is behind them is free
    const end = this.#endBefore(final, this.#chunks[final]!.length);
    if (end > free) free = end;
    if (free <= last && last - free + 1n >= length) yield { start: free, last };
  }

  /** The lowest span that ends at or above `address`. */
  from(address: bigint): S | undefined {
    const chunk = this.#chunks[this.#chunkOf(address)]!;
    const at = indexFrom(chunk, address);
    return at < chunk.length ? chunk[at] : undefined;
  }

  /** The lowest span that meets [start, last]. */
  meeting(start: bigint, last: bigint): S | undefined {
    const span = this.from(start);
    return span !== undefined && span.start <= last ? span : undefined;
  }

  /** Adds a span that overlaps none. */
  add(span: S): void {
    const index = this.#chunkOf(span.start);
    const chunk = this.#chunks[index]!;
    const at = indexFrom(chunk, span.start);
    // a hole is split; only one behind all others was not counted so far
    if (at === chunk.length) this.#noteHole(index, span.start - this.#endBefore(index, at));
    chunk.splice(at, 0, span);
    this.#size++;
    if (chunk.length <= CHUNK) return;
    // spans made at rising addresses fill the last chunk: leave it full and go on in a fresh one
    const keep = index === this.#chunks.length - 1 ? CHUNK : CHUNK / 2;
    this.#chunks.splice(index + 1, 0, chunk.splice(keep));
    this.#holeBounds.splice(index + 1, 0, this.#holeBounds[index]!);
  }

  /** Takes a span out that is in it. */
  delete(span: S): void {
    const index = this.#chunkOf(span.start);
    const chunk = this.#chunks[index]!;
    const at = indexFrom(chunk, span.start);
    if (chunk[at] !== span) throw new RangeError("the span is not in the map");
    const isLastOfChunk = at === chunk.length - 1;
    const behind = isLastOfChunk ? this.#chunks[index + 1]?.[0] : chunk[at + 1];
    // the holes before and behind it become one, in front of the next span
    if (behind) this.#noteHole(isLastOfChunk ? index + 1 : index, behind.start - this.#endBefore(index, at));
    chunk.splice(at, 1);
    this.#size--;
    if (chunk.length > 0 || this.#chunks.length === 1) return;
    this.#chunks.splice(index, 1);
    this.#holeBounds.splice(index, 1);
  }

  clear(): void {
    this.#chunks = [[]];
    this.#holeBounds = [0];
    this.#size = 0;
  }

  #noteHole(index: number, bytes: bigint): void {
    const size = Number(bytes);
    if (size > this.#holeBounds[index]!) this.#holeBounds[index] = size;
  }

  /** The byte behind the span in front of a place; 0 in front of the first. */
  #endBefore(index: number, at: number): bigint {
    const before = at > 0 ? this.#chunks[index]![at - 1] : this.#chunks[index - 1]?.at(-1);
    return before === undefined ? 0n : before.last + 1n;
  }

  /** The first chunk whose last span ends at or above the address; the last chunk when all end below it. */
  #chunkOf(address: bigint): number {
    let low = 0;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const chunk = this.#chunks[middle]!;
      if (chunk[chunk.length - 1]!.last < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** How many spans of a chunk end below an address. */
function indexFrom(chunk: readonly Span[], address: bigint): number {
  let low = 0;
  let high = chunk.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (chunk[middle]!.last < address) low = middle + 1;
    else high = middle;
  }
  return low;
}
