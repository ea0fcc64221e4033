import type { ControllerMemory } from "./controller-memory.ts";
import { CompletionQueue, type QueuePlace, type Shadow, SubmissionQueue } from "./queues.ts";

/** Where doorbells are in the host's memory: the two pages of Doorbell Buffer Config. */
export interface ShadowPages {
  readonly doorbells: bigint;
  readonly eventIndexes: bigint;
}

/** The queues of a controller by their identifiers, and their doorbells where those are in the host's memory. */
export class QueueSet {
  readonly submissions = new Map<number, SubmissionQueue>();
  readonly completions = new Map<number, CompletionQueue>();
  readonly #memory: ControllerMemory;
  #shadows: ShadowPages | undefined;

  constructor(memory: ControllerMemory) {
    this.#memory = memory;
  }

  get shadows(): ShadowPages | undefined {
    return this.#shadows;
  }

  clear(): void {
    this.submissions.clear();
    this.completions.clear();
    this.#shadows = undefined;
  }

  addCompletionQueue(place: QueuePlace, vector: number, interrupts: boolean): CompletionQueue {
    const queue = new CompletionQueue(place, vector, interrupts);
    queue.shadow = this.#shadowOf(2 * place.id + 1);
    this.completions.set(place.id, queue);
    return queue;
  }

  addSubmissionQueue(place: QueuePlace, completions: CompletionQueue): SubmissionQueue {
    const queue = new SubmissionQueue(place, completions);
    queue.shadow = this.#shadowOf(2 * place.id);
    this.submissions.set(place.id, queue);
    return queue;
  }

  /** From now on doorbells are there, and have the values that they have. */
  useShadows(pages: ShadowPages): void {
    this.placeShadows(pages);
    for (const queue of this.submissions.values()) this.writeIndex(queue.shadow!.doorbell, queue.tail);
    for (const queue of this.completions.values()) this.writeIndex(queue.shadow!.doorbell, queue.head);
    // the admin queue was read just now: who keeps its shadow waits for that index before it rings (QEMU's
    // hw/nvme/ctrl.c:nvme_process_sq)
    const admin = this.submissions.get(0)!;
    this.writeIndex(admin.shadow!.eventIndex, admin.tail);
  }

  /** They are there already. */
  placeShadows(pages: ShadowPages): void {
    this.#shadows = pages;
    for (const queue of this.submissions.values()) queue.shadow = this.#shadowOf(2 * queue.id);
    for (const queue of this.completions.values()) queue.shadow = this.#shadowOf(2 * queue.id + 1);
  }

  #shadowOf(doorbell: number): Shadow | undefined {
    if (!this.#shadows) return undefined;
    const offset = BigInt(4 * doorbell);
    return { doorbell: this.#shadows.doorbells + offset, eventIndex: this.#shadows.eventIndexes + offset };
  }

  writeIndex(address: bigint, value: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    this.#memory.write(address, bytes);
  }

  readIndex(address: bigint): number {
    const bytes = new Uint8Array(4);
    this.#memory.read(address, bytes);
    return new DataView(bytes.buffer).getUint32(0, true) & 0xffff;
  }
}
