/** Something that covers [start, last], inclusive bytes. */
export interface Span {
  readonly start: bigint;
  readonly last: bigint;
}

/** Spans in one chunk: an insertion moves half of them on average. */
const CHUNK = 128;

/**
 * Spans that do not overlap, to the byte, in order of their addresses: what iommufd keeps in an interval tree. Sorted chunks, found by two
 * binary searches. IntervalMap is the faster kind for page-aligned runs of numbers.
 */
export class SpanMap<S extends Span> implements Iterable<S> {
  /** Never without a chunk; only the first may be empty, when there is no other. */
  #chunks: S[][] = [[]];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  *[Symbol.iterator](): Iterator<S> {
    for (const chunk of this.#chunks) yield* chunk;
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
    chunk.splice(indexFrom(chunk, span.start), 0, span);
    this.#size++;
    if (chunk.length <= CHUNK) return;
    // spans made at rising addresses fill the last chunk: leave it full and go on in a fresh one
    const keep = index === this.#chunks.length - 1 ? CHUNK : CHUNK / 2;
    this.#chunks.splice(index + 1, 0, chunk.splice(keep));
  }

  /** Takes a span out that is in it. */
  delete(span: S): void {
    const index = this.#chunkOf(span.start);
    const chunk = this.#chunks[index]!;
    const at = indexFrom(chunk, span.start);
    if (chunk[at] !== span) throw new RangeError("the span is not in the map");
    chunk.splice(at, 1);
    this.#size--;
    if (chunk.length === 0 && this.#chunks.length > 1) this.#chunks.splice(index, 1);
  }

  clear(): void {
    this.#chunks = [[]];
    this.#size = 0;
  }

  /** The first chunk whose last span ends at or above the address; the last chunk when there is none. */
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
