import type { ControllerMemory } from "./controller-memory.ts";
import type { Events } from "./events.ts";
import type { ControllerFacts } from "./facts.ts";
import type { Features } from "./features.ts";
import type { Namespace } from "./namespace.ts";
import type { CompletionQueue, QueuePlace, Request, SubmissionQueue } from "./queues.ts";
import type { Steps } from "./steps.ts";

/** What commands see of the controller that carries them out. */
export interface CommandContext {
  readonly facts: ControllerFacts;
  readonly memory: ControllerMemory;
  readonly events: Events;
  readonly features: Features;
  readonly submissions: ReadonlyMap<number, SubmissionQueue>;
  readonly completions: ReadonlyMap<number, CompletionQueue>;
  /** Bytes of a page in CC.MPS. */
  readonly pageSize: number;
  /** CC.CSS. */
  readonly commandSet: number;
  /** log2 of the bytes of queue entries, as CC has them. */
  readonly entryShifts: { readonly submission: number; readonly completion: number };
  /** I/O queues were made since the controller was enabled. */
  queuesMade: boolean;
  /** The most bytes that a command may move (MDTS). */
  readonly transferLimit: number;
  /** Whether the host has messages on. */
  readonly messagesEnabled: boolean;
  /** Milliseconds since it was made. */
  readonly age: number;
  attached(): readonly Namespace[];
  /** @param allocated also one that is not attached */
  namespace(id: number, allocated?: boolean): Namespace | undefined;
  /** Remembers that a namespace has come or gone; false when that was known. */
  noteChanged(id: number): boolean;
  /** Those that have come or gone since this was asked last. */
  takeChangedNamespaces(): readonly number[];
  /** Has what was written to namespaces reach their storage. */
  flush(namespaces: readonly Namespace[], request: Request): Steps;
  addCompletionQueue(place: QueuePlace, vector: number, interrupts: boolean): void;
  addSubmissionQueue(place: QueuePlace, completions: CompletionQueue): void;
  /** Commands of it that are not over are completed as such. */
  deleteSubmissionQueue(queue: SubmissionQueue): void;
  deleteCompletionQueue(queue: CompletionQueue): void;
  /** From now on doorbells of I/O queues are in the host's memory. */
  useShadows(doorbells: bigint, eventIndexes: bigint): void;
}
