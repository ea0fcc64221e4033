/**
 * Non-overlapping runs of pages, each with a 32-bit value: what the kernel keeps in a red-black tree of vfio_dma. Here the
 * runs lie sorted in chunks of typed arrays below one sorted directory of first pages, so that a lookup is two binary
 * searches over flat memory, and a million runs are a few thousand small arrays that the garbage collector never walks.
 *
 * The map has one cursor: seek() and next() move it, start, pages and value read the run there. No call allocates but the
 * growth of the arrays.
 */
const CHUNK = 256;

interface Chunk {
  readonly starts: Float64Array;
  readonly counts: Float64Array;
  readonly values: Uint32Array;
  length: number;
}

function newChunk(): Chunk {
  return {
    starts: new Float64Array(CHUNK),
    counts: new Float64Array(CHUNK),
    values: new Uint32Array(CHUNK),
    length: 0,
  };
}

export class IntervalMap {
  /** Number of runs. */
  size = 0;
  #chunks: Chunk[] = [newChunk()];
  /** First start of each chunk, but -1 for the first chunk, so that every page has a chunk. */
  #firsts = new Float64Array(64).fill(-1, 0, 1);
  #chunk: Chunk = this.#chunks[0]!;
  #at = 0;
  #index = 0;

  /** The run at the cursor: its first page. Meaningful after seek() or next() returned true. */
  get start(): number {
    return this.#chunk.starts[this.#at]!;
  }

  /** The run at the cursor: how many pages. */
  get pages(): number {
    return this.#chunk.counts[this.#at]!;
  }

  /** The run at the cursor: its value. */
  get value(): number {
    return this.#chunk.values[this.#at]!;
  }

  /** Moves the cursor to the first run that ends at or after `page`; false when there is none. */
  seek(page: number): boolean {
    this.#toChunk(page);
    const chunk = this.#chunk;
    let low = 0;
    let high = chunk.length;
    const starts = chunk.starts;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle]! <= page) low = middle + 1;
      else high = middle;
    }
    // low: the first run that starts behind the page; the one before it may still reach the page
    if (low > 0 && starts[low - 1]! + chunk.counts[low - 1]! > page) low--;
    this.#at = low;
    return low < chunk.length || this.#toNextChunk();
  }

  /** Moves the cursor to the lowest run. */
  first(): boolean {
    return this.seek(0);
  }

  /** Moves the cursor to the next run. */
  next(): boolean {
    this.#at++;
    return this.#at < this.#chunk.length || this.#toNextChunk();
  }

  /** Whether any run meets [start, start + pages); leaves the cursor on the lowest that does. */
  overlaps(start: number, pages: number): boolean {
    return this.seek(start) && this.start < start + pages;
  }

  /** Adds a run. The caller has made sure that it overlaps none. */
  insert(start: number, pages: number, value: number): void {
    this.#toChunk(start);
    let chunk = this.#chunk;
    if (chunk.length === CHUNK) {
      this.#split();
      this.#toChunk(start);
      chunk = this.#chunk;
    }
    const { starts, counts, values } = chunk;
    let low = 0;
    let high = chunk.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle]! < start) low = middle + 1;
      else high = middle;
    }
    if (low < chunk.length) {
      starts.copyWithin(low + 1, low, chunk.length);
      counts.copyWithin(low + 1, low, chunk.length);
      values.copyWithin(low + 1, low, chunk.length);
    }
    starts[low] = start;
    counts[low] = pages;
    values[low] = value;
    chunk.length++;
    this.#at = low;
    this.size++;
  }

  /** Takes the run at the cursor out; the cursor is then on the run behind it, false when there is none. */
  removeHere(): boolean {
    const chunk = this.#chunk;
    const at = this.#at;
    chunk.starts.copyWithin(at, at + 1, chunk.length);
    chunk.counts.copyWithin(at, at + 1, chunk.length);
    chunk.values.copyWithin(at, at + 1, chunk.length);
    chunk.length--;
    this.size--;
    if (chunk.length === 0) {
      if (this.#chunks.length > 1) this.#dropChunk();
    } else if (at === 0 && this.#index > 0) {
      // a directory entry is exactly its chunk's first start: seek() relies on it
      this.#firsts[this.#index] = chunk.starts[0]!;
    }
    return this.#at < this.#chunk.length || this.#toNextChunk();
  }

  clear(): void {
    this.#chunks = [newChunk()];
    this.#firsts = new Float64Array(64).fill(-1, 0, 1);
    this.#chunk = this.#chunks[0]!;
    this.#index = 0;
    this.#at = 0;
    this.size = 0;
  }

  /** Makes the chunk current whose runs start at or below `page`. */
  #toChunk(page: number): void {
    const firsts = this.#firsts;
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (firsts[middle]! <= page) low = middle + 1;
      else high = middle;
    }
    this.#index = low - 1;
    this.#chunk = this.#chunks[low - 1]!;
  }

  #toNextChunk(): boolean {
    while (this.#index + 1 < this.#chunks.length) {
      this.#index++;
      this.#chunk = this.#chunks[this.#index]!;
      this.#at = 0;
      if (this.#chunk.length > 0) return true;
    }
    return false;
  }

  #split(): void {
    const left = this.#chunk;
    const right = newChunk();
    // runs made at rising addresses fill the last chunk: leave it full and go on in a fresh one
    const keep = this.#index === this.#chunks.length - 1 ? CHUNK - CHUNK / 16 : CHUNK / 2;
    right.starts.set(left.starts.subarray(keep));
    right.counts.set(left.counts.subarray(keep));
    right.values.set(left.values.subarray(keep));
    right.length = CHUNK - keep;
    left.length = keep;
    const count = this.#chunks.length;
    if (count === this.#firsts.length) {
      const grown = new Float64Array(count * 2);
      grown.set(this.#firsts);
      this.#firsts = grown;
    }
    this.#firsts.copyWithin(this.#index + 2, this.#index + 1, count);
    this.#firsts[this.#index + 1] = right.starts[0]!;
    this.#chunks.splice(this.#index + 1, 0, right);
  }

  #dropChunk(): void {
    this.#chunks.splice(this.#index, 1);
    this.#firsts.copyWithin(this.#index, this.#index + 1, this.#chunks.length + 1);
    this.#firsts[0] = -1;
    if (this.#index === this.#chunks.length) {
      this.#index--;
      this.#chunk = this.#chunks[this.#index]!;
      this.#at = this.#chunk.length;
    } else {
      this.#chunk = this.#chunks[this.#index]!;
      this.#at = 0;
    }
  }
}
