import { DATA_END, FIRST_DATA, PAGE, PAGES, peekNumber, pokeNumber } from "./area.ts";
import type { Machine } from "./machine.ts";
import { TenantViolation } from "./steps.ts";

/** Memory whose every page says whose it is. */
export interface Named {
  readonly name: string;
  readonly process: number;
  readonly slot: number;
  /** The address of its area. */
  readonly area: number;
  /** What stands at the beginning of each page. */
  readonly words: number[];
}

const SLOTS = 2;

/** Words that name their owner: no two of them are alike. */
export class Words {
  readonly #machine: Machine;
  #count = 0;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** A word of an owner that nobody has seen yet. */
  next({ process, slot }: Named): number {
    return (process * SLOTS + slot + 1) * 2 ** 32 + ++this.#count;
  }

  /** Whose word it is. */
  describe(word: number | undefined): string {
    if (word === undefined) return "a fault";
    if (Number.isNaN(word)) return "nothing that the device could show";
    const owner = Math.floor(word / 2 ** 32) - 1;
    if (owner < 0) return `0x${word.toString(16)}, nobody's word`;
    return `word ${word % 2 ** 32} of p${Math.floor(owner / SLOTS)}c${owner % SLOTS}`;
  }

  /** Gives each data page of a new area a word. */
  fill(memory: Named): void {
    for (let page = 0; page < PAGES; page++) {
      memory.words[page] = 0;
      if (page < FIRST_DATA || page >= DATA_END) continue;
      memory.words[page] = this.next(memory);
      pokeNumber(this.#machine.process(memory.process), memory.area + page * PAGE, memory.words[page]!);
    }
  }

  peek(memory: Named, page: number): number {
    return peekNumber(this.#machine.process(memory.process), memory.area + page * PAGE);
  }

  /** Nobody wrote anything that he was not allowed to. */
  check(memory: Named): void {
    for (let page = FIRST_DATA; page < DATA_END; page++) {
      const found = this.peek(memory, page);
      if (found === memory.words[page]) continue;
      throw new TenantViolation(
        `page ${page} of ${memory.name} holds ${this.describe(found)}, not ${this.describe(memory.words[page])}`,
      );
    }
  }
}
