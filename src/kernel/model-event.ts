import { fail } from "./errors.ts";
import { type EventSignal, ForeignFile } from "./file-description.ts";

const MAX = 2n ** 64n - 2n;

/** An eventfd in the model: a counter that whoever has it adds to, and that a read takes. Never blocks. */
export class EventFile extends ForeignFile {
  #count: bigint;
  readonly #watchers = new Set<() => void>();

  constructor(count = 0n) {
    super("an eventfd");
    this.#count = count;
  }

  /** read(): takes what is in it. EAGAIN when that is nothing. */
  take(): bigint {
    const count = this.takeAll();
    if (count === 0n) fail("EAGAIN", "nothing has happened on the eventfd");
    return count;
  }

  /** The same, 0 when nothing is in it. */
  takeAll(): bigint {
    const count = this.#count;
    this.#count = 0n;
    return count;
  }

  /** write(): adds, and tells who watches. */
  add(count: bigint): void {
    this.#count = this.#count + count > MAX ? MAX : this.#count + count;
    for (const watcher of [...this.#watchers]) watcher();
  }

  override event(): EventSignal {
    return {
      signal: () => this.add(1n),
      release: () => {},
      watch: (handler) => {
        const watcher = () => handler();
        this.#watchers.add(watcher);
        if (this.#count > 0n) handler();
        return () => this.#watchers.delete(watcher);
      },
    };
  }
}
