import type { Command } from "./command.ts";

/** A completion that waits for its place in a queue. */
export interface Completion {
  readonly queue: SubmissionQueue;
  readonly id: number;
  readonly status: number;
  /** Dword 0. */
  readonly result: number;
}

/**
 * Where the host keeps a doorbell in its memory, and where the controller says which value it has seen (Doorbell Buffer
 * Config).
 */
export interface Shadow {
  readonly doorbell: bigint;
  readonly eventIndex: bigint;
}

export interface QueuePlace {
  readonly id: number;
  /** Of the first entry. */
  readonly address: bigint;
  /** Entries. */
  readonly size: number;
}

export class CompletionQueue {
  readonly id: number;
  readonly address: bigint;
  readonly size: number;
  readonly vector: number;
  readonly interrupts: boolean;
  /** What the host has taken; what it has got. */
  head = 0;
  tail = 0;
  /** The bit that tells new entries from those of the round before. */
  phase = 1;
  readonly pending: Completion[] = [];
  readonly users = new Set<SubmissionQueue>();
  shadow: Shadow | undefined;

  constructor(place: QueuePlace, vector: number, interrupts: boolean) {
    this.id = place.id;
    this.address = place.address;
    this.size = place.size;
    this.vector = vector;
    this.interrupts = interrupts;
  }

  get isFull(): boolean {
    return (this.tail + 1) % this.size === this.head;
  }

  /** Entries that fit in one piece behind the tail. */
  get room(): number {
    const free = (this.head - this.tail - 1 + this.size) % this.size;
    return Math.min(free, this.size - this.tail);
  }

  advance(count: number): void {
    this.tail += count;
    if (this.tail < this.size) return;
    this.tail = 0;
    this.phase ^= 1;
  }
}

export class SubmissionQueue {
  readonly id: number;
  readonly address: bigint;
  readonly size: number;
  readonly completions: CompletionQueue;
  head = 0;
  tail = 0;
  /** Entries that were taken and are not completed: as many as the queue has at most. */
  outstanding = 0;
  shadow: Shadow | undefined;

  constructor(place: QueuePlace, completions: CompletionQueue) {
    this.id = place.id;
    this.address = place.address;
    this.size = place.size;
    this.completions = completions;
    completions.users.add(this);
  }

  get isEmpty(): boolean {
    return this.head === this.tail;
  }

  /** Entries that can be taken in one piece now. */
  get available(): number {
    const behind = this.tail >= this.head ? this.tail - this.head : this.size - this.head;
    return Math.min(behind, this.size - this.outstanding);
  }
}

/** A command that was taken from its queue. */
export interface Request {
  readonly queue: SubmissionQueue;
  readonly command: Command;
  /** Dword 0 of its completion. */
  result: number;
  /** Bytes that it moves besides those that its steps tell of. */
  moved: number;
  /** Goes on with it when what it waits for is there. */
  readonly wake: () => void;
}
