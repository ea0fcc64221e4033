/** Numbers that are given out lowest first and taken back, to things by name (ida_alloc). */
export class LowestFree<Key> {
  readonly #numbers = new Map<Key, number>();
  readonly #keys = new Map<number, Key>();
  /** No number below is free. */
  #lowest = 0;

  take(key: Key): void {
    if (this.#numbers.has(key)) return;
    while (this.#keys.has(this.#lowest)) this.#lowest++;
    this.#keys.set(this.#lowest, key);
    this.#numbers.set(key, this.#lowest);
  }

  giveBack(key: Key): void {
    const number = this.#numbers.get(key);
    if (number === undefined) return;
    this.#keys.delete(number);
    this.#numbers.delete(key);
    this.#lowest = Math.min(this.#lowest, number);
  }

  get(key: Key): number | undefined {
    return this.#numbers.get(key);
  }

  /** Who has a number. */
  keyOf(number: number): Key | undefined {
    return this.#keys.get(number);
  }
}
