const BITS = 32;

/**
 * Which of the numbers from 0 to a limit are taken. Finding the lowest free one of a range costs a few steps however
 * many are taken: each word of a level stands for 32 of the level below, a bit is set when all of them are taken.
 */
export class IdSet {
  readonly #limit: number;
  /** Bits of the numbers first, the summaries behind them. */
  readonly #levels: Uint32Array[] = [];
  #size = 0;

  /** @param limit the first number that there is not */
  constructor(limit: number) {
    this.#limit = limit;
    for (let count = limit; ; ) {
      count = Math.ceil(count / BITS);
      this.#levels.push(new Uint32Array(count));
      if (count === 1) break;
    }
  }

  /** How many are taken. */
  get size(): number {
    return this.#size;
  }

  has(id: number): boolean {
    return (this.#levels[0]![id >>> 5]! & (1 << (id & 31))) !== 0;
  }

  /** Takes the lowest free number of a range, both ends included; undefined when all are taken. */
  take(min: number, max: number): number | undefined {
    const id = this.#lowestFree(min);
    if (id > Math.min(max, this.#limit - 1)) return undefined;
    this.#size++;
    for (let level = 0, at = id; level < this.#levels.length; level++) {
      const word = at >>> 5;
      const words = this.#levels[level]!;
      words[word]! |= 1 << (at & 31);
      if (words[word] !== 0xffff_ffff) break;
      at = word;
    }
    return id;
  }

  /** Gives a number back. Nothing when it is free. */
  release(id: number): void {
    if (!this.has(id)) return;
    this.#size--;
    for (let level = 0, at = id; level < this.#levels.length; level++) {
      const word = at >>> 5;
      const words = this.#levels[level]!;
      const wasFull = words[word] === 0xffff_ffff;
      words[word]! &= ~(1 << (at & 31));
      if (!wasFull) break;
      at = word;
    }
  }

  /** The lowest free number from `from` on; Infinity when all are taken. */
  #lowestFree(from: number): number {
    let at = from;
    let level = 0;
    // up: until a word has a free bit at or above
    for (;;) {
      const words = this.#levels[level];
      if (words === undefined || at >>> 5 >= words.length) return Number.POSITIVE_INFINITY;
      const free = ~words[at >>> 5]! & (-1 << (at & 31));
      if (free !== 0) {
        at = (at & ~31) + lowestBit(free);
        break;
      }
      at = (at >>> 5) + 1;
      level++;
    }
    // down: the first free bit of that word
    while (level > 0) {
      level--;
      const word = this.#levels[level]![at];
      // behind the last word of a level a summary has free bits that stand for nothing
      if (word === undefined) return Number.POSITIVE_INFINITY;
      at = at * BITS + lowestBit(~word);
    }
    return at;
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
