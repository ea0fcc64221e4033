import type { EventsState } from "./events.ts";
import type { FeaturesState } from "./features.ts";
import type { QueueSet } from "./queue-set.ts";

/** A completion that the host has no room for, as it is saved. */
interface CompletionState {
  /** Of the submission queue. */
  readonly queue: number;
  readonly id: number;
  readonly status: number;
  readonly result: number;
}

/** The queues of a controller, as they are saved. Addresses are in hex. */
export interface QueuesState {
  readonly completions: readonly {
    readonly id: number;
    readonly address: string;
    readonly size: number;
    readonly vector: number;
    readonly interrupts: boolean;
    readonly head: number;
    readonly tail: number;
    readonly phase: number;
    readonly pending: readonly CompletionState[];
  }[];
  readonly submissions: readonly {
    readonly id: number;
    readonly address: string;
    readonly size: number;
    /** The completion queue. */
    readonly completions: number;
    readonly head: number;
    readonly tail: number;
    readonly outstanding: number;
  }[];
  readonly shadows: { readonly doorbells: string; readonly eventIndexes: string } | null;
}

/** A controller that was paused, as it is saved. */
export interface ControllerState extends QueuesState {
  readonly masked: number;
  readonly hasFailed: boolean;
  readonly queuesMade: boolean;
  /** Namespaces that have come or gone. */
  readonly changed: readonly number[];
  readonly events: EventsState;
  readonly features: FeaturesState;
}

export function saveQueues({ completions, submissions, shadows }: QueueSet): QueuesState {
  return {
    completions: [...completions.values()].map((queue) => ({
      id: queue.id,
      address: queue.address.toString(16),
      size: queue.size,
      vector: queue.vector,
      interrupts: queue.interrupts,
      head: queue.head,
      tail: queue.tail,
      phase: queue.phase,
      pending: queue.pending.map(({ queue: { id: from }, ...completion }) => ({ ...completion, queue: from })),
    })),
    submissions: [...submissions.values()].map((queue) => ({
      id: queue.id,
      address: queue.address.toString(16),
      size: queue.size,
      completions: queue.completions.id,
      head: queue.head,
      tail: queue.tail,
      outstanding: queue.outstanding,
    })),
    shadows: shadows
      ? { doorbells: shadows.doorbells.toString(16), eventIndexes: shadows.eventIndexes.toString(16) }
      : null,
  };
}

/** Makes the queues anew. The state was checked (nvme-state.ts). */
export function readQueues(queues: QueueSet, { completions, submissions, shadows }: QueuesState): void {
  const address = (hex: string) => BigInt(`0x${hex}`);
  for (const saved of completions) {
    const place = { id: saved.id, address: address(saved.address), size: saved.size };
    const queue = queues.addCompletionQueue(place, saved.vector, saved.interrupts);
    queue.head = saved.head;
    queue.tail = saved.tail;
    queue.phase = saved.phase;
  }
  for (const saved of submissions) {
    const place = { id: saved.id, address: address(saved.address), size: saved.size };
    const queue = queues.addSubmissionQueue(place, queues.completions.get(saved.completions)!);
    queue.head = saved.head;
    queue.tail = saved.tail;
    queue.outstanding = saved.outstanding;
  }
  for (const { id, pending } of completions) {
    const own = pending.map((each) => ({ ...each, queue: queues.submissions.get(each.queue)! }));
    queues.completions.get(id)!.pending.push(...own);
  }
  if (shadows)
    queues.placeShadows({ doorbells: address(shadows.doorbells), eventIndexes: address(shadows.eventIndexes) });
}
