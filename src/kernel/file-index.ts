import type { FileContent, FileTree, Graft } from "./file-tree.ts";
import type { HostEntry, HostFiles } from "./host-files.ts";

type Part = Omit<FileTree, "grafts">;

const DIRECTORY: HostEntry = { kind: "directory" };

/**
 * Trees put together, each of which can be taken out again. A directory is there as long as anything is in it, or one
 * of the trees has it.
 */
export class FileIndex implements HostFiles {
  readonly grafts: readonly Graft[];
  readonly #files = new Map<string, FileContent>();
  readonly #links = new Map<string, string>();
  /** By directory, the names in it, and how often each was put in. */
  readonly #names = new Map<string, Map<string, number>>();
  readonly #sorted = new Map<string, readonly string[]>();

  constructor(grafts: readonly Graft[] = []) {
    this.grafts = grafts;
  }

  static of(tree: FileTree): FileIndex {
    const index = new FileIndex(tree.grafts);
    index.add(tree);
    return index;
  }

  add({ directories, files, links }: Part): void {
    for (const directory of directories) this.#count(directory, 1);
    for (const [path, file] of files) {
      this.#files.set(path, file);
      this.#count(path, 1);
    }
    for (const [path, target] of links) {
      this.#links.set(path, target);
      this.#count(path, 1);
    }
  }

  remove({ directories, files, links }: Part): void {
    for (const directory of directories) this.#count(directory, -1);
    for (const path of files.keys()) {
      this.#files.delete(path);
      this.#count(path, -1);
    }
    for (const path of links.keys()) {
      this.#links.delete(path);
      this.#count(path, -1);
    }
  }

  find(path: string): HostEntry | undefined {
    const file = this.#files.get(path);
    if (file !== undefined) return { kind: "file", file };
    const target = this.#links.get(path);
    if (target !== undefined) return { kind: "link", target };
    return this.#isDirectory(path) ? DIRECTORY : undefined;
  }

  names(directory: string): readonly string[] {
    const path = directory === "/" ? "" : directory;
    let sorted = this.#sorted.get(path);
    if (sorted === undefined) {
      sorted = [...(this.#names.get(path)?.keys() ?? [])].sort();
      if (sorted.length > 0) this.#sorted.set(path, sorted);
    }
    return sorted;
  }

  snapshot(): FileTree {
    const directories: string[] = [];
    for (const [parent, names] of this.#names)
      for (const name of names.keys()) {
        const path = `${parent}/${name}`;
        // those with something in them need not be said
        if (!this.#files.has(path) && !this.#links.has(path) && !this.#names.has(path)) directories.push(path);
      }
    return { grafts: this.grafts, directories: directories.sort(), files: this.#files, links: this.#links };
  }

  get roots(): readonly string[] {
    const isAbove = (path: string) => this.grafts.some(({ directory }) => `${directory}/`.startsWith(`${path}/`));
    // what /dev has is nodes, which others make
    const grafts = this.grafts.filter(({ directory }) => !`${directory}/`.startsWith("/dev/"));
    return grafts.flatMap(({ directory, hidden }) => {
      if (hidden.includes("*")) return [directory];
      const below = this.names(directory).map((name) => `${directory}/${name}`);
      return below.filter((path) => this.find(path)?.kind === "directory" && !isAbove(path));
    });
  }

  get rest(): FileTree {
    const roots = new Set(this.roots);
    const isOutside = (path: string) => {
      for (let at = path; at !== ""; at = at.slice(0, at.lastIndexOf("/"))) if (roots.has(at)) return false;
      return true;
    };
    const { directories, files, links } = this.snapshot();
    return {
      grafts: this.grafts,
      directories: directories.filter(isOutside),
      files: new Map([...files].filter(([path]) => isOutside(path))),
      links: new Map([...links].filter(([path]) => isOutside(path))),
    };
  }

  #isDirectory(path: string): boolean {
    const slash = path.lastIndexOf("/");
    return slash >= 0 && (path === "/" || this.#names.get(path.slice(0, slash))?.has(path.slice(slash + 1)) === true);
  }

  /** A path comes or goes, and with it what only led to it. */
  #count(path: string, by: 1 | -1): void {
    for (let at = path; at !== ""; at = at.slice(0, at.lastIndexOf("/"))) {
      const slash = at.lastIndexOf("/");
      const parent = at.slice(0, slash);
      const name = at.slice(slash + 1);
      let names = this.#names.get(parent);
      if (names === undefined) {
        names = new Map();
        this.#names.set(parent, names);
      }
      const count = (names.get(name) ?? 0) + by;
      if (count > 0) names.set(name, count);
      else names.delete(name);
      // What is above counts this name once.
      if (count > 1 || (count === 1 && by < 0)) return;
      this.#sorted.delete(parent);
      if (names.size === 0) this.#names.delete(parent);
    }
  }
}
