import type { AddressSpace } from "../../kernel/address-space.ts";
import type { FileTable, Task } from "../../kernel/task.ts";
import type { Watcher } from "./watcher.ts";

/**
 * A task whose questions about rights are heard of. One for each task: making it for each call costs more than the
 * call.
 */
export class WatchedTask implements Task {
  readonly files: FileTable;
  readonly #task: Task;
  readonly #watchers: readonly Watcher[];
  readonly #memory: (space: AddressSpace) => AddressSpace;

  /**
   * @param memory gives the watched form of the task's memory
   * @param files the watched form of its files
   */
  constructor(
    task: Task,
    watchers: readonly Watcher[],
    memory: (space: AddressSpace) => AddressSpace,
    files: FileTable,
  ) {
    this.#task = task;
    this.#watchers = watchers;
    this.#memory = memory;
    this.files = files;
  }

  get tid(): number {
    return this.#task.tid;
  }

  get pid(): number {
    return this.#task.pid;
  }

  get name(): string {
    return this.#task.name;
  }

  get memory(): AddressSpace {
    return this.#memory(this.#task.memory);
  }

  get euid(): number {
    const { euid } = this.#task;
    for (const watcher of this.#watchers) watcher.asked?.("euid", euid);
    return euid;
  }

  capable(capability: number): boolean {
    const answer = this.#task.capable(capability);
    for (const watcher of this.#watchers) watcher.asked?.(capability, answer ? 1 : 0);
    return answer;
  }

  memlockLimit(): number {
    const bytes = this.#task.memlockLimit();
    for (const watcher of this.#watchers) watcher.asked?.("memlock", bytes);
    return bytes;
  }
}
