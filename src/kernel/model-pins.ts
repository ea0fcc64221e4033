import { fail } from "./errors.ts";
import type { MemoryObject, PageHolder } from "./model-object.ts";

/** Pages of one object that are held for DMA: a part of a pin. */
export interface HeldRun {
  readonly object: MemoryObject;
  /** Page of the object. */
  readonly first: number;
  readonly pages: number;
  /** Pages of the pin that lie before this run. */
  readonly at: number;
}

const INITIAL = 64;
/** In the place of an object's number: no pin, and a pin that is a list of runs. */
const NONE = 0xffff;
const SEVERAL = 0xfffe;

/**
 * What is held for DMA of one memory, by number. A pin is one run of pages of one object as a rule, and those lie in
 * typed arrays, so that a pin allocates nothing and a million of them are nothing that the garbage collector walks.
 * Pins of several runs are lists.
 */
export class PinTable implements PageHolder {
  /** How many pins there are. */
  size = 0;
  /** First page and number of pages of each. */
  #runs = new Float64Array(2 * INITIAL);
  /**
   * The number of its object: all that letting go looks at, so it lies by itself and stays in the processor's caches.
   */
  #object = new Uint16Array(INITIAL).fill(NONE);
  #used = 0;
  #free = new Uint32Array(INITIAL);
  #freeCount = 0;
  readonly #several = new Map<number, readonly HeldRun[]>();
  /** The objects behind single runs, by number, and how many pins each has. */
  readonly #objects: (MemoryObject | undefined)[] = [];
  readonly #uses: number[] = [];
  readonly #numbers = new Map<MemoryObject, number>();
  readonly #freeNumbers: number[] = [];
  /** The number of the object that was held last; it may have no pin any more. */
  #last = 0;

  /** Holds one run; returns the pin's number. */
  hold(object: MemoryObject, first: number, pages: number): number {
    const number = this.#numberOf(object);
    if (number >= SEVERAL) return this.holdSeveral([{ object, first, pages, at: 0 }]);
    object.hold(first, pages);
    const pin = this.#take();
    this.#setSingle(pin, number, first, pages);
    return pin;
  }

  /** Holds runs in the order of their addresses; returns the pin's number. */
  holdSeveral(runs: readonly HeldRun[]): number {
    for (const { object, first, pages } of runs) {
      object.hold(first, pages);
      object.heldBy(this);
    }
    const pin = this.#take();
    this.#object[pin] = SEVERAL;
    this.#several.set(pin, runs);
    return pin;
  }

  /** EFAULT when there is no such pin. */
  letGo(pin: number): void {
    const number = this.#objectNumber(pin);
    if (number < SEVERAL) {
      this.#objects[number]!.letGo();
      this.#drop(number);
    } else {
      for (const run of this.#runsOf(pin)) run.object.letGo();
      this.#several.delete(pin);
    }
    this.#object[pin] = NONE;
    if (this.#freeCount === this.#free.length) this.#free = grown(this.#free, new Uint32Array(this.#freeCount * 2));
    this.#free[this.#freeCount++] = pin;
    this.size--;
  }

  /** The object that a pin's pages belong to; undefined when it has several runs or there is no such pin. */
  objectOf(pin: number): MemoryObject | undefined {
    const number = this.#objectNumber(pin);
    return number < SEVERAL ? this.#objects[number] : undefined;
  }

  /** Of a pin with one run: the object's page that it begins with. */
  firstOf(pin: number): number {
    return this.#runs[2 * pin]!;
  }

  /** Of a pin with one run: how many pages. */
  pagesOf(pin: number): number {
    return this.#runs[2 * pin + 1]!;
  }

  /** The runs of a pin in order. EFAULT when there is no such pin. */
  runs(pin: number): readonly HeldRun[] {
    const object = this.objectOf(pin);
    if (object === undefined) return this.#runsOf(pin);
    return [{ object, first: this.firstOf(pin), pages: this.pagesOf(pin), at: 0 }];
  }

  /**
   * What is held of an object's range is another object's from now on, at the same page numbers. Looks at every pin.
   */
  move(object: MemoryObject, first: number, pages: number, to: MemoryObject): void {
    const number = this.#numbers.get(object);
    for (let pin = 0; number !== undefined && pin < this.#used; pin++) {
      const from = this.firstOf(pin);
      const count = this.pagesOf(pin);
      if (this.#objectNumber(pin) !== number || from >= first + pages || from + count <= first) continue;
      const parts = this.#moved({ object, first: from, pages: count, at: 0 }, first, pages, to);
      const other = parts.length === 1 ? this.#numberOf(to) : SEVERAL;
      if (other < SEVERAL) {
        this.#setSingle(pin, other, from, count);
      } else {
        this.#object[pin] = SEVERAL;
        this.#several.set(pin, parts);
      }
      this.#drop(number);
    }
    for (const [pin, runs] of this.#several) {
      if (!runs.some((run) => run.object === object)) continue;
      const parts = runs.flatMap((run) => (run.object === object ? this.#moved(run, first, pages, to) : [run]));
      this.#several.set(pin, parts);
    }
  }

  /** Forgets the object that was held last when it has no pin any more, so that its memory can go. */
  forgetIdle(): void {
    if (this.#uses[this.#last] === 0) this.#forget(this.#last);
  }

  /** A run in parts: what lies in the range is `to`'s. */
  #moved(run: HeldRun, first: number, pages: number, to: MemoryObject): HeldRun[] {
    const from = Math.max(run.first, first);
    const end = Math.min(run.first + run.pages, first + pages);
    if (from >= end) return [run];
    const part = (object: MemoryObject, start: number, stop: number): HeldRun => ({
      object,
      first: start,
      pages: stop - start,
      at: run.at + start - run.first,
    });
    const parts = [
      part(run.object, run.first, from),
      part(to, from, end),
      part(run.object, end, run.first + run.pages),
    ].filter((piece) => piece.pages > 0);
    run.object.heldRuns--;
    for (const { object, first: start, pages: count } of parts) {
      if (object === run.object) object.heldRuns++;
      else object.hold(start, count);
      object.heldBy(this);
    }
    return parts;
  }

  #setSingle(pin: number, number: number, first: number, pages: number): void {
    this.#uses[number]!++;
    this.#runs[2 * pin] = first;
    this.#runs[2 * pin + 1] = pages;
    this.#object[pin] = number;
  }

  /** The number of an object, old or new. One that is too large for the table is not kept. */
  #numberOf(object: MemoryObject): number {
    if (this.#objects[this.#last] === object) return this.#last;
    this.forgetIdle();
    let number = this.#numbers.get(object);
    if (number === undefined) {
      if (this.#freeNumbers.length === 0 && this.#objects.length >= SEVERAL) return NONE;
      number = this.#freeNumbers.pop() ?? this.#objects.length;
      this.#objects[number] = object;
      this.#uses[number] = 0;
      this.#numbers.set(object, number);
      object.heldBy(this);
    }
    this.#last = number;
    return number;
  }

  /** One pin less of an object. */
  #drop(number: number): void {
    if (--this.#uses[number]! === 0 && number !== this.#last) this.#forget(number);
  }

  #forget(number: number): void {
    const object = this.#objects[number];
    if (object === undefined) return;
    this.#numbers.delete(object);
    this.#objects[number] = undefined;
    this.#freeNumbers.push(number);
  }

  #objectNumber(pin: number): number {
    return this.#object[pin] ?? NONE;
  }

  #runsOf(pin: number): readonly HeldRun[] {
    return this.#several.get(pin) ?? fail("EFAULT", `there is no pin ${pin}`);
  }

  #take(): number {
    this.size++;
    if (this.#freeCount > 0) return this.#free[--this.#freeCount]!;
    const pin = this.#used++;
    if (pin === this.#object.length) {
      this.#runs = grown(this.#runs, new Float64Array(4 * pin));
      this.#object = grown(this.#object, new Uint16Array(2 * pin).fill(NONE));
    }
    return pin;
  }
}

function grown<T extends Float64Array | Uint32Array | Uint16Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
