/** Gives the lowest free number from 1 on, however many are in use. */
export class LowestIds {
  /** Numbers below #next that came back: a heap, the lowest on top. */
  readonly #free: number[] = [];
  #next = 1;

  /** What take() would return. */
  get lowest(): number {
    return this.#free[0] ?? this.#next;
  }

  take(): number {
    const free = this.#free;
    if (free.length === 0) return this.#next++;
    const lowest = free[0]!;
    const last = free.pop()!;
    if (free.length > 0) this.#sink(last);
    return lowest;
  }

  /** A number is free again. */
  give(id: number): void {
    const free = this.#free;
    let at = free.length;
    for (let above = (at - 1) >> 1; at > 0 && free[above]! > id; above = (at - 1) >> 1) {
      free[at] = free[above]!;
      at = above;
    }
    free[at] = id;
  }

  /** Puts a number in from the top. */
  #sink(id: number): void {
    const free = this.#free;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below + 1 < free.length && free[below + 1]! < free[below]!) below++;
      if (below >= free.length || free[below]! >= id) break;
      free[at] = free[below]!;
      at = below;
    }
    free[at] = id;
  }
}
