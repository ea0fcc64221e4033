/** The last so many of something. */
export class Ring<T> {
  readonly #most: number;
  #items: T[] = [];
  /** How many there were before the ones that are kept. */
  #dropped = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#items.length;
  }

  get dropped(): number {
    return this.#dropped;
  }

  /** In order. Not to be changed. */
  get items(): readonly T[] {
    return this.#items;
  }

  push(item: T): void {
    this.#items.push(item);
    // a quarter at a time: what is thrown away is moved once
    if (this.#items.length < this.#most * 1.25) return;
    const gone = this.#items.length - this.#most;
    this.#items = this.#items.slice(gone);
    this.#dropped += gone;
  }

  /** Takes the last one back. */
  pop(): void {
    this.#items.pop();
  }
}
