import type { AddressSpace } from "../../kernel/address-space.ts";
import type { Pin } from "../watch/watcher.ts";
import type { IovaSpace, Mapping } from "./mappings.ts";

/** So much memory is looked at before each call; with more mappings it goes round. */
const CHECKED_EACH_CALL = 64;

/** What memory is held for; undefined until the call that has it held is done. */
interface Use {
  readonly mapping: Mapping | undefined;
  readonly space: IovaSpace | undefined;
}

/** The memory of programs that is held for DMA, and whether it is still theirs. */
export class HeldMemory {
  /** Held memory that is there as far as we know, with what it is held for. */
  readonly #pins = new Map<Pin, Use>();
  /** Mappings whose memory was missed already. */
  readonly #withoutMemory = new WeakSet<Mapping>();

  hold(pin: Pin): void {
    this.#pins.set(pin, { mapping: undefined, space: undefined });
  }

  /** What it is held for is known now. */
  use(pin: Pin, mapping: Mapping, space: IovaSpace): void {
    this.#pins.set(pin, { mapping, space });
  }

  /** Returns what it was held for. */
  letGo(pin: Pin): Use | undefined {
    const use = this.#pins.get(pin);
    this.#pins.delete(pin);
    use?.mapping?.pins.delete(pin);
    return use;
  }

  /**
   * Looks whether memory of a process is there still, as far as can be seen from outside.
   * @param mappings whose memory is looked at in any case
   * @returns memory that is not
   */
  missing(space: AddressSpace, mappings: Iterable<Mapping>): Pin[] {
    const due = new Set<Pin>();
    for (const mapping of mappings) for (const pin of mapping.pins) if (this.#pins.has(pin)) due.add(pin);
    for (const pin of this.#pins.keys()) {
      if (due.size >= CHECKED_EACH_CALL) break;
      if (pin.space === space) due.add(pin);
    }
    const gone: Pin[] = [];
    for (const pin of due) {
      if (pin.space !== space) continue;
      if (!isThere(space, pin)) gone.push(pin);
      else if (this.#pins.size > CHECKED_EACH_CALL) {
        // the next call looks at others
        const use = this.#pins.get(pin)!;
        this.#pins.delete(pin);
        this.#pins.set(pin, use);
      }
    }
    return gone;
  }

  /** The mapping that memory is missed of; undefined where that was noticed before, or no mapping has it. */
  noticeGone(pin: Pin): Mapping | undefined {
    const mapping = this.#pins.get(pin)?.mapping;
    if (!mapping || this.#withoutMemory.has(mapping)) return undefined;
    this.#withoutMemory.add(mapping);
    return mapping;
  }
}

function isThere(space: AddressSpace, { vaddr, length, write }: Pin): boolean {
  const pin = space.pinFast(vaddr, length / space.pageSize, write);
  if (pin >= 0) space.unpin(pin);
  return pin >= 0;
}
