import type { FileContent, FileTree, Graft } from "../../kernel/file-tree.ts";

/** Permission bits as sysfs uses them. */
export const READ_ONLY = 0o444;
export const READ_WRITE = 0o644;
export const WRITE_ONLY = 0o200;
export const OWNER_ONLY = 0o600;

/** Collects a FileTree. Paths are absolute; a path that is given twice is a mistake here, not in a description. */
export class TreeBuilder {
  readonly #directories = new Set<string>();
  readonly #files = new Map<string, FileContent>();
  readonly #links = new Map<string, string>();

  /** A directory that is there even when nothing is in it. */
  directory(at: string): void {
    this.#directories.add(at);
  }

  /** A line of text gets its line end here, as sysfs files have one. */
  line(at: string, text: string, mode = READ_ONLY): void {
    this.file(at, `${text}\n`, mode);
  }

  file(at: string, content: string | Uint8Array, mode = READ_ONLY): void {
    this.#refuseTwice(at);
    this.#files.set(at, { content, mode });
  }

  /**
   * A file whose content is made when it is read.
   * @param write absent where nothing happens
   */
  live(at: string, mode: number, read: () => string | Uint8Array, write?: (text: string) => void): void {
    this.#refuseTwice(at);
    this.#files.set(at, {
      get content() {
        return read();
      },
      mode,
      ...(write && { write }),
    });
  }

  /** A file of `size` zero bytes that takes no room. */
  sparse(at: string, size: number, mode: number): void {
    this.#refuseTwice(at);
    this.#files.set(at, { content: "", mode, size });
  }

  /** Something that a script writes to, and that cannot be read. @param write absent where nothing happens */
  trigger(at: string, write?: (text: string) => void): void {
    this.#refuseTwice(at);
    this.#files.set(at, { content: "", mode: WRITE_ONLY, ...(write && { write }) });
  }

  /** A link, relative as sysfs makes them. @param target absolute */
  link(at: string, target: string): void {
    this.#refuseTwice(at);
    this.#links.set(at, relative(at, target));
  }

  build(grafts: readonly Graft[]): FileTree {
    return { grafts, directories: [...this.#directories], files: this.#files, links: this.#links };
  }

  #refuseTwice(at: string): void {
    if (this.#files.has(at) || this.#links.has(at)) throw new Error(`${at} is made twice`);
  }
}

/** The way to `target` from where `at` lies; both absolute and in their shortest form, as all paths here are. */
function relative(at: string, target: string): string {
  let shared = 0;
  for (let slash = 0; slash >= 0; slash = target.indexOf("/", shared)) {
    if (!at.startsWith(target.slice(0, slash + 1))) break;
    shared = slash + 1;
  }
  const up = at.slice(shared).split("/").length - 1;
  return `${"../".repeat(up)}${target.slice(shared)}`;
}
