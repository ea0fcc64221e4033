import { KernelError } from "../../kernel/errors.ts";
import { WaitsError } from "../../kernel/host-files.ts";

/**
 * How often who has a device that a writer waits for is asked for it again (vfio_main.c: vfio_unregister_group_dev).
 */
const ASK_AGAIN_MS = 10_000;

/** A write of a program. */
export interface Write {
  /** What its answer calls it. */
  readonly unique: Buffer;
  readonly path: string;
  /** The writer's process, in the numbers of our pid namespace; 0 when it is of another. */
  readonly pid: number;
  readonly count: number;
  readonly make: () => void;
}

/** Makes writes, also those that have to wait: these are made again when something was given back. */
export class HeldWrites {
  readonly #answer: (write: Write, error: KernelError | undefined) => void;
  #held: Write[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** @param answer called once for each write */
  constructor(answer: (write: Write, error: KernelError | undefined) => void) {
    this.#answer = answer;
  }

  make(write: Write): void {
    try {
      write.make();
    } catch (error) {
      if (error instanceof WaitsError) this.#hold(write);
      else
        this.#answer(write, error instanceof KernelError ? error : new KernelError("EIO", `internal error: ${error}`));
      return;
    }
    this.#answer(write, undefined);
  }

  /** Something was given back. */
  retry(): void {
    const held = this.#held;
    this.#held = [];
    for (const write of held) this.make(write);
  }

  /** A writer has got a signal: it need not wait on. */
  interrupt(unique: Buffer): void {
    const index = this.#held.findIndex((write) => write.unique.equals(unique));
    if (index < 0) return;
    const [write] = this.#held.splice(index, 1);
    this.#answer(write!, new KernelError("EINTR", "the writer got a signal while it waited"));
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #hold(write: Write): void {
    this.#held.push(write);
    this.#timer ??= setTimeout(() => this.#askAgain(), ASK_AGAIN_MS).unref();
  }

  #askAgain(): void {
    this.#timer = undefined;
    this.retry();
  }
}
