import { WINDOW_END, WINDOW_FIRST } from "./descriptor-window.ts";

/** Numbers that are asked about for one file while the window is full. */
const PROBES = 4;
const SIZE = WINDOW_END - WINDOW_FIRST;

/**
 * Which numbers of the window to ask about, in one process. All of them, as long as there may be a free one. Once all
 * were taken, a few for each file, in turn: what a program closes is found again, and a program that keeps the window
 * full does not have all of it looked through for each file.
 */
export class WindowSearch {
  #isFull = false;
  /** Where the next few begin, from the window's start. */
  #next = 0;

  *numbers(): Generator<number, void> {
    const count = this.#isFull ? PROBES : SIZE;
    const first = this.#isFull ? this.#next : 0;
    for (let step = 0; step < count; step++) yield WINDOW_FIRST + ((first + step) % SIZE);
    this.#next = (first + count) % SIZE;
    this.#isFull = true;
  }

  /** One of them was free. */
  found(): void {
    this.#isFull = false;
  }
}
