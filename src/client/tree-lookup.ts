import { posix } from "node:path";
import type { FileTree } from "../kernel/file-tree.ts";

/** As the kernel: more links than this on the way are a loop. */
const MAX_LINKS = 40;

/** Finds names in a FileTree as the kernel does in a file system: through the links on the way. */
export class TreeLookup {
  private readonly tree: FileTree;
  private readonly directories: ReadonlySet<string>;

  constructor(tree: FileTree) {
    this.tree = tree;
    const names = [...tree.directories, ...tree.files.keys(), ...tree.links.keys()];
    this.directories = new Set([...tree.directories, ...names.flatMap(parents)]);
  }

  /** Whether the path leads to something, through a link at its end too. */
  exists(path: string): boolean {
    const real = this.resolve(path);
    return real !== undefined && (this.tree.files.has(real) || this.directories.has(real));
  }

  /** The target of the link at `path`, as it stands there; undefined when there is no link. */
  readlink(path: string): string | undefined {
    const normal = posix.resolve("/", path);
    const parent = this.resolve(posix.dirname(normal));
    return parent === undefined ? undefined : this.tree.links.get(posix.join(parent, posix.basename(normal)));
  }

  /** The names in a directory, through a link at its end too; none when it is no directory. */
  list(path: string): readonly string[] {
    const real = this.resolve(path);
    if (real === undefined) return [];
    const below = [...this.directories, ...this.tree.files.keys(), ...this.tree.links.keys()];
    return [...new Set(below.filter((each) => posix.dirname(each) === real).map((each) => posix.basename(each)))];
  }

  /** The path without links in it; undefined when it loops. */
  private resolve(path: string): string | undefined {
    const rest = path.split("/").filter((part) => part !== "");
    let at = "/";
    for (let links = 0; rest.length > 0; ) {
      const next = posix.join(at, rest.shift()!);
      const target = this.tree.links.get(next);
      if (target === undefined) at = next;
      else if (++links > MAX_LINKS) return undefined;
      else {
        rest.unshift(...target.split("/").filter((part) => part !== ""));
        if (target.startsWith("/")) at = "/";
      }
    }
    return at;
  }
}

function parents(path: string): string[] {
  const all: string[] = [];
  for (let at = posix.dirname(path); at !== "/" && at !== "."; at = posix.dirname(at)) all.push(at);
  return all;
}
