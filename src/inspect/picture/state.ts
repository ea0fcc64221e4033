import type {
  CallEvent,
  DeviceFacts,
  DmaEvent,
  InterruptEvent,
  MapEvent,
  NamedRange,
  NoteEvent,
  PictureEvent,
  SpaceFacts,
} from "./event.ts";
import { Ring } from "./ring.ts";
import { Spans } from "./spans.ts";

/** An address space with what is mapped in it. */
export interface SpaceState {
  readonly id: string;
  facts: SpaceFacts;
  readonly mapped: Spans;
  /** Changes with what is mapped, and with the facts. */
  version: number;
}

/** How much is kept of what only passes by. */
export interface Limits {
  readonly calls: number;
  readonly failures: number;
  readonly dma: number;
}

export const LIVE_LIMITS: Limits = { calls: 5_000, failures: 1_000, dma: 4_000 };
export const NO_LIMITS: Limits = {
  calls: Number.POSITIVE_INFINITY,
  failures: Number.POSITIVE_INFINITY,
  dma: Number.POSITIVE_INFINITY,
};

/** So many address spaces are remembered that are gone. */
const GONE_MAX = 8;

/** At most so many things in the way are named. */
const NAMED_MAX = 8;

const NOTHING = () => {};

/**
 * A host as its events tell it: address spaces with what is mapped, devices with who has them, what passed by lately.
 * The page and its server have the same; an event can be taken back, for a slider through time.
 */
export class PictureState {
  readonly spaces = new Map<string, SpaceState>();
  readonly devices = new Map<string, DeviceFacts>();
  /** What address spaces were that are gone: the last few. */
  readonly gone = new Map<string, SpaceFacts>();
  readonly calls: Ring<CallEvent>;
  /** Calls that failed. */
  readonly failures: Ring<CallEvent>;
  readonly dma: Ring<DmaEvent>;
  /** DMA that did not arrive. */
  readonly faults: Ring<DmaEvent>;
  readonly interrupts: Ring<InterruptEvent>;
  readonly notes: Ring<NoteEvent>;
  /** Happened and was not told. */
  skipped = 0;
  /** Microseconds. */
  now = 0;

  constructor(limits: Limits = LIVE_LIMITS) {
    this.calls = new Ring(limits.calls);
    this.failures = new Ring(limits.failures);
    this.dma = new Ring(limits.dma);
    this.faults = new Ring(limits.failures);
    this.interrupts = new Ring(limits.failures);
    this.notes = new Ring(limits.failures);
  }

  /** @returns takes it back, as long as nothing that came later is there */
  apply(event: PictureEvent): () => void {
    const before = this.now;
    if ("t" in event && event.t > before) {
      this.now = event.t;
      const back = this.#apply(event);
      return () => {
        back();
        this.now = before;
      };
    }
    return this.#apply(event);
  }

  /** Forgets address spaces and devices: they are told anew. */
  forgetSpaces(): void {
    this.spaces.clear();
    this.devices.clear();
  }

  /** What is in the way of mapping a range there: other mappings, and what cannot be mapped. */
  inTheWay(space: SpaceState, start: bigint, last: bigint): NamedRange[] {
    const taken = space.facts.taken.filter(({ first, last: end }) => BigInt(first) <= last && BigInt(end) >= start);
    const mapped = space.mapped.within(start, last, NAMED_MAX).map((span) => ({
      first: hex(span.start),
      last: hex(span.last),
      what: "mapping",
      of: space.facts.label,
    }));
    return [...mapped, ...taken].slice(0, NAMED_MAX);
  }

  #apply(event: PictureEvent): () => void {
    switch (event.k) {
      case "space":
        return this.#space(event.id, event.facts);
      case "device":
        return put(this.devices, event.id, event.facts);
      case "map":
        return this.#map(event);
      case "unmap":
        return this.#changed(event.s, ({ mapped }) => mapped.takeOut(BigInt(event.a), BigInt(event.z)));
      case "call":
        return both(push(this.calls, event), event.errno === undefined ? NOTHING : push(this.failures, event));
      case "dma":
        return both(push(this.dma, event), event.fault === undefined ? NOTHING : push(this.faults, event));
      case "irq":
        return push(this.interrupts, event);
      case "note":
        return push(this.notes, event);
      case "skipped":
        this.skipped += event.count;
        return () => {
          this.skipped -= event.count;
        };
    }
  }

  #space(id: string, facts: SpaceFacts | null): () => void {
    const known = this.spaces.get(id);
    if (facts === null) return known ? both(put(this.spaces, id, null), this.#keep(id, known.facts)) : NOTHING;
    if (!known) return put(this.spaces, id, { id, facts, mapped: new Spans(), version: 0 });
    const before = known.facts;
    known.facts = facts;
    known.version++;
    return () => {
      known.facts = before;
      known.version++;
    };
  }

  /** Calls that failed in it are still to be looked at. */
  #keep(id: string, facts: SpaceFacts): () => void {
    this.gone.set(id, facts);
    const [oldest] = this.gone.keys();
    if (this.gone.size > GONE_MAX) this.gone.delete(oldest!);
    return () => this.gone.delete(id);
  }

  #map({ s, a, z, rw }: MapEvent): () => void {
    return this.#changed(s, ({ mapped }) => mapped.put({ start: BigInt(a), last: BigInt(z), rw }));
  }

  #changed(id: string, change: (space: SpaceState) => () => void): () => void {
    const space = this.spaces.get(id);
    if (!space) return NOTHING;
    const back = change(space);
    space.version++;
    return () => {
      back();
      space.version++;
    };
  }
}

function put<T>(map: Map<string, T>, id: string, value: T | null): () => void {
  const before = map.get(id);
  const set = (to: T | null | undefined) => (to === null || to === undefined ? map.delete(id) : map.set(id, to));
  set(value);
  return () => set(before);
}

function push<T>(ring: Ring<T>, item: T): () => void {
  ring.push(item);
  return () => ring.pop();
}

function both(first: () => void, second: () => void): () => void {
  if (second === NOTHING) return first;
  return () => {
    second();
    first();
  };
}

export function hex(address: bigint): string {
  return `0x${address.toString(16)}`;
}
