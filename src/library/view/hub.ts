import type { Hello, Message, PictureEvent } from "../../inspect/picture/event.ts";
import type { PictureState } from "../../inspect/picture/state.ts";

/** A batch goes that often at most. Milliseconds. */
const BATCH_MS = 40;
/** Without anything to tell, what went without a call is looked for that often. Milliseconds. */
const IDLE_MS = 500;
/** Between two other things to do, so long is worked on batches; a message is far less. Milliseconds. */
const SLICE_MS = 0.5;
/** Messages in one batch. */
const BATCH_MAX = 1_000;
/** What waits for a page, at most: then calls and DMA are left out, and what is mapped is told anew. */
const WAITING_MAX = 20_000;
/** Mappings of one slice of what is there already. */
const MAPPINGS = 200;
/** A page that is behind by so many bytes gets no more for the time being. */
const BEHIND = 1 << 20;

/** Who looks on. */
export interface Looker {
  /** Takes a batch. */
  send(messages: readonly Message[]): void;
  /** Bytes that have not gone out yet. */
  readonly backlog: number;
}

/** What a hub tells of. */
export interface HubSource {
  readonly hello: Omit<Hello, "k">;
  readonly state: PictureState;
  /** Called before each batch. */
  beforeBatch?(): void;
  /** For a trace: all of it, instead of what is there now. */
  readonly trace?: { readonly events: readonly PictureEvent[]; readonly cut: string | undefined };
}

/**
 * Tells pages what happens, in batches and between other things: no piece of work is longer than a millisecond, and a
 * page that does not keep up gets less. With nobody there it does nothing.
 */
export class ViewHub {
  readonly #source: HubSource;
  readonly #lookers = new Set<LookerQueue>();
  #timer: NodeJS.Timeout | undefined;
  #idle: NodeJS.Timeout | undefined;
  #ended: string | undefined;

  constructor(source: HubSource) {
    this.#source = source;
  }

  get isWatched(): boolean {
    return this.#lookers.size > 0;
  }

  /** Tells an event, which the state has already. */
  readonly push = (event: PictureEvent): void => {
    if (this.#lookers.size === 0) return;
    for (const looker of this.#lookers) looker.push(event);
    this.#soon();
  };

  /** What is there comes anew. */
  forget(): void {
    for (const looker of this.#lookers) looker.add({ k: "again" });
    this.#soon();
  }

  /** The run is over. */
  end(text: string): void {
    this.#ended = text;
    for (const looker of this.#lookers) looker.add({ k: "end", text });
    this.#soon();
  }

  /** Nothing waits to be sent. */
  get isIdle(): boolean {
    for (const looker of this.#lookers) if (!looker.isEmpty) return false;
    return true;
  }

  /** Somebody begins to look on. @returns ends it */
  join(looker: Looker): () => void {
    const queue = new LookerQueue(looker, this.#source);
    this.#lookers.add(queue);
    if (this.#ended !== undefined) queue.add({ k: "end", text: this.#ended });
    this.#soon();
    const { beforeBatch } = this.#source;
    if (beforeBatch) this.#idle ??= setInterval(beforeBatch, IDLE_MS).unref();
    return () => {
      this.#lookers.delete(queue);
      if (this.#lookers.size > 0) return;
      clearInterval(this.#idle);
      this.#idle = undefined;
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  #soon(): void {
    this.#timer ??= setTimeout(this.#batch, BATCH_MS);
  }

  readonly #batch = (): void => {
    this.#timer = undefined;
    this.#source.beforeBatch?.();
    const until = performance.now() + SLICE_MS;
    let more = false;
    for (const looker of this.#lookers) more = looker.flush(until) || more;
    if (more) setImmediate(() => this.#soonAgain());
  };

  /** There is more: other things come first, then the next batch. */
  #soonAgain(): void {
    if (this.#lookers.size > 0) this.#timer ??= setTimeout(this.#batch, 1);
  }
}

/** What one page has still to be told. */
class LookerQueue {
  readonly #looker: Looker;
  readonly #source: HubSource;
  #waiting: Message[] = [];
  #at = 0;
  /** What is there already and has not been told. */
  #there: Iterator<Message> | undefined;
  #skipped = 0;

  constructor(looker: Looker, source: HubSource) {
    this.#looker = looker;
    this.#source = source;
    this.add({ k: "hello", ...source.hello });
    // before what comes from now on: a page shows calls in the order in which it hears of them
    if (!source.trace) this.#waiting.push(...past(source.state));
    this.#there = source.trace ? traced(source.trace) : present(source.state, true);
  }

  get isEmpty(): boolean {
    return this.#there === undefined && this.#at === this.#waiting.length;
  }

  add(message: Message): void {
    this.#waiting.push(message);
  }

  push(event: PictureEvent): void {
    if (this.#waiting.length - this.#at >= WAITING_MAX) this.#leaveOut();
    this.#waiting.push(event);
  }

  /** Sends what goes until then. @returns whether there is more to do at once */
  flush(until: number): boolean {
    if (this.#looker.backlog > BEHIND) return !this.isEmpty;
    const batch: Message[] = [];
    while (batch.length < BATCH_MAX && performance.now() < until) {
      if (this.#at < this.#waiting.length) {
        batch.push(this.#waiting[this.#at++]!);
        continue;
      }
      const next = this.#there?.next();
      if (next === undefined) break;
      if (next.done) this.#there = undefined;
      else batch.push(next.value);
    }
    if (this.#at === this.#waiting.length) {
      this.#waiting = [];
      this.#at = 0;
    }
    if (this.#skipped > 0) {
      batch.push({ k: "skipped", t: this.#source.state.now, count: this.#skipped });
      this.#skipped = 0;
    }
    if (batch.length > 0) this.#looker.send(batch);
    return !this.isEmpty;
  }

  /** It is too much: what passed by is counted only, and what is there is told anew. */
  #leaveOut(): void {
    const kept: Message[] = [];
    for (const message of this.#waiting.slice(this.#at)) {
      if (message.k === "hello" || message.k === "end" || message.k === "note") kept.push(message);
      else this.#skipped++;
    }
    this.#waiting = [...kept, { k: "again" }];
    this.#at = 0;
    this.#there = present(this.#source.state, false);
  }
}

function* traced({ events, cut }: NonNullable<HubSource["trace"]>): Generator<Message> {
  yield* events;
  yield { k: "whole", ...(cut !== undefined && { cut }) };
}

/**
 * What is there now, piece by piece while it changes: a mapping that is told twice, or told again after it was told
 * that it is new, is the same mapping.
 * @param withGone also address spaces that are gone
 */
function* present(state: PictureState, withGone: boolean): Generator<Message> {
  for (const [id, facts] of [...state.devices]) yield { k: "device", id, facts };
  for (const space of [...state.spaces.values()]) {
    yield { k: "space", id: space.id, facts: space.facts };
    for (let from = 0n; state.spaces.get(space.id) === space; ) {
      const slice = space.mapped.within(from, (1n << 64n) - 1n, MAPPINGS);
      for (const { start, last, rw } of slice) {
        // it may have gone since the slice was taken
        const still = space.mapped.meeting(start, last);
        if (still?.start === start && still.last === last)
          yield { k: "map", s: space.id, a: `0x${start.toString(16)}`, z: `0x${last.toString(16)}`, rw };
      }
      if (slice.length < MAPPINGS) break;
      from = slice.at(-1)!.last + 1n;
    }
  }
  if (!withGone) return;
  for (const [id, facts] of [...state.gone]) {
    yield { k: "space", id, facts };
    yield { k: "space", id, facts: null };
  }
}

/** What passed by, as far as it is kept. */
function past({ notes, calls, dma, faults, interrupts }: PictureState): PictureEvent[] {
  const told = new Set<PictureEvent>(dma.items);
  const others = faults.items.filter((fault) => !told.has(fault));
  return [...notes.items, ...calls.items, ...dma.items, ...others, ...interrupts.items];
}
