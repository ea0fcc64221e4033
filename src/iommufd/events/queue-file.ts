import { FileDescription, type Readiness } from "../../kernel/file-description.ts";
import type { IommufdContext } from "../context.ts";

/** What waits for a program until it reads it. */
export interface Queue {
  readonly label: string;
  /** The first that waits; undefined when nothing does. */
  readonly next: unknown;
  /** Who has it open, or uses it otherwise. */
  users: number;
  /** Has `changed` called whenever there may be something to read. @returns ends that */
  watch(changed: () => void): () => void;
}

/** The descriptor of a queue (struct iommufd_eventq). It keeps the queue, and its iommufd. */
export abstract class QueueFile<Q extends Queue> extends FileDescription {
  override readonly kind = "foreign";
  protected readonly queue: Q;
  readonly #context: IommufdContext;

  constructor(context: IommufdContext, queue: Q) {
    super();
    this.#context = context;
    this.queue = queue;
    context.get();
    queue.users++;
  }

  override get label(): string {
    return this.queue.label;
  }

  /** Whether programs write to it. */
  protected readonly takesWrites: boolean = false;

  override get readiness(): Readiness {
    const { queue } = this;
    return {
      ...(this.takesWrites && { isWritable: true as const }),
      get isReadable() {
        return queue.next !== undefined;
      },
      watch: (changed) => queue.watch(changed),
    };
  }

  override release(): void {
    this.queue.users--;
    this.#context.put();
  }
}
