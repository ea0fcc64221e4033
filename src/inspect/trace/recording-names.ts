import type { FileDescription, ForeignFile } from "../../kernel/file-description.ts";
import type { Operation } from "../replay/operation.ts";

/** What a recording calls files and buffers. */
export class RecordingNames {
  readonly #counts = new Map<string, number>();
  readonly #files = new WeakMap<FileDescription, string>();
  /** Files that a descriptor was named for. */
  readonly #opened = new WeakSet<FileDescription>();
  /** Foreign files by process and descriptor. */
  readonly #foreign = new Map<string, { readonly name: string; readonly isEvent: boolean; readonly size: number }>();

  /** A name that nothing has yet. */
  fresh(prefix: string): string {
    const count = (this.#counts.get(prefix) ?? 0) + 1;
    this.#counts.set(prefix, count);
    return `${prefix}${count}`;
  }

  /** The name of a file of the model's. */
  of(file: FileDescription): string {
    let name = this.#files.get(file);
    if (name === undefined) {
      name = this.fresh(file.kind);
      this.#files.set(file, name);
    }
    return name;
  }

  /** The name of a file that the program has just got a descriptor of. */
  ofOpened(file: FileDescription): string {
    this.#opened.add(file);
    return this.of(file);
  }

  wasOpened(file: FileDescription): boolean {
    return this.#opened.has(file);
  }

  /**
   * A file of the program's own: declared when the model first asks for it, and again when its number means another
   * kind or size of file.
   * @param pid of the process that has it as `fd`
   * @returns its name, and the operation that must come first where it is declared
   */
  ofForeign(
    pid: number | undefined,
    fd: number,
    file: ForeignFile,
  ): { readonly name: string; readonly declared?: Operation } {
    const event = file.event();
    event?.release();
    const isEvent = event !== undefined;
    const memory = isEvent ? undefined : file.memory();
    const size = memory?.size ?? 0;
    memory?.release?.();
    const key = `${pid} ${fd}`;
    const known = this.#foreign.get(key);
    if (known?.isEvent === isEvent && known.size === size) return { name: known.name };
    const name = this.fresh(isEvent ? "event" : "file");
    this.#foreign.set(key, { name, isEvent, size });
    const declared: Operation = isEvent
      ? { op: "eventfd", fd: name, ret: 0, errno: null }
      : { op: "memfd", fd: name, size, ret: 0, errno: null };
    return { name, declared };
  }
}
