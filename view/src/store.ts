import type {
  CallEvent,
  DmaEvent,
  Hello,
  InterruptEvent,
  Message,
  NoteEvent,
  PictureEvent,
} from "../../src/inspect/picture/event.ts";
import { Spans } from "../../src/inspect/picture/spans.ts";
import { LIVE_LIMITS, NO_LIMITS, PictureState, type SpaceState } from "../../src/inspect/picture/state.ts";

/** What stands in the list. */
export type Passing = CallEvent | DmaEvent | InterruptEvent | NoteEvent;

export interface Item {
  readonly event: Passing;
  /** Of a trace: how many events there are up to it. */
  readonly position: number;
}

const NOTHING_MAPPED = new Spans();

/** Of a live host the list has so many. */
const ITEMS_MAX = 10_000;

/** What the page knows: the state at the chosen time, and all that passed by. */
export class Store {
  hello: Hello | undefined;
  state = new PictureState(LIVE_LIMITS);
  items: Item[] = [];
  /** Items that were let go of. */
  forgotten = 0;
  /** Of a trace: all events; those before `position` are in the state. */
  readonly events: PictureEvent[] = [];
  position = 0;
  isWhole = false;
  /** What of a trace is missing. */
  cut: string | undefined;
  ended: string | undefined;
  /** Failed calls and DMA that did not arrive, among the items. */
  failures: Item[] = [];
  /** Of a trace: when most was mapped. */
  fullest = { position: 0, bytes: -1n };
  #undo: (() => void)[] = [];

  get isTrace(): boolean {
    return this.hello?.mode === "trace";
  }

  take(messages: readonly Message[]): void {
    for (const message of messages) this.#takeOne(message);
  }

  /** Goes through time: so many events have happened. */
  seek(position: number): void {
    const to = Math.max(0, Math.min(position, this.events.length));
    while (this.position > to) {
      this.#undo.pop()!();
      this.position--;
    }
    while (this.position < to) this.#undo.push(this.state.apply(this.events[this.position++]!));
  }

  #takeOne(message: Message): void {
    switch (message.k) {
      case "hello":
        // a page that lost its connection and has another one begins anew
        this.#restart(message);
        return;
      case "again":
        this.state.forgetSpaces();
        return;
      case "whole":
        this.isWhole = true;
        this.cut = message.cut;
        return;
      case "end":
        this.ended = message.text;
        return;
      default:
        this.#event(message);
    }
  }

  #noteFullest(): void {
    let bytes = BigInt(this.state.spaces.size);
    for (const { mapped } of this.state.spaces.values()) bytes += mapped.bytes;
    if (bytes > this.fullest.bytes) this.fullest = { position: this.position, bytes };
  }

  #restart(hello: Hello): void {
    this.hello = hello;
    this.state = new PictureState(hello.mode === "trace" ? NO_LIMITS : LIVE_LIMITS);
    this.items = [];
    this.failures = [];
    this.forgotten = 0;
    this.events.length = 0;
    this.position = 0;
    this.#undo = [];
  }

  #event(event: PictureEvent): void {
    if (this.isTrace) {
      const follows = this.position === this.events.length;
      this.events.push(event);
      if (follows) this.seek(this.events.length);
      if (event.k === "map" || event.k === "space") this.#noteFullest();
    } else this.state.apply(event);
    if (event.k !== "call" && event.k !== "dma" && event.k !== "irq" && event.k !== "note") return;
    const item: Item = { event, position: this.events.length };
    this.items.push(item);
    if (hasFailed(event)) this.failures.push(item);
    if (this.isTrace || this.items.length < ITEMS_MAX * 1.2) return;
    const gone = this.items.length - ITEMS_MAX;
    this.items = this.items.slice(gone);
    this.forgotten += gone;
    const oldest = this.items[0]!.event.t;
    this.failures = this.failures.filter(({ event: { t } }) => t >= oldest);
  }
}

/** The address spaces that are seen: those that are there, and of those that are gone the ones that are asked for. */
export function seenSpaces(
  { state, ended, isTrace }: Store,
  chosen: string | undefined,
): { readonly space: SpaceState; readonly isGone: boolean }[] {
  const there = [...state.spaces.values()].map((space) => ({ space, isGone: false }));
  const gone = [...state.gone].flatMap(([id, facts]) => {
    const isWanted = id === chosen || (ended !== undefined && !isTrace);
    return isWanted && !state.spaces.has(id)
      ? [{ space: { id, facts, mapped: NOTHING_MAPPED, version: 0 }, isGone: true }]
      : [];
  });
  return [...there, ...gone];
}

export function hasFailed(event: Passing): boolean {
  return (event.k === "call" && event.errno !== undefined) || (event.k === "dma" && event.fault !== undefined);
}
