import type { HostEntry, HostFiles } from "./host-files.ts";

/** As many links as a path may lead over (fs/namei.c: MAXSYMLINKS). */
const MOST_LINKS = 40;

/** Finds names in a host's files as the kernel does in a file system: through the links on the way. */
export class FileLookup {
  readonly #files: HostFiles;

  constructor(files: HostFiles) {
    this.#files = files;
  }

  /** What a path leads to, through a link at its end too. */
  find(path: string): HostEntry | undefined {
    const at = this.resolve(path);
    return at === undefined ? undefined : this.#files.find(at);
  }

  /** Where the link at the end of a path leads, as it stands there; undefined when it is none. */
  readlink(path: string): string | undefined {
    const at = this.resolve(path, false);
    const entry = at === undefined ? undefined : this.#files.find(at);
    return entry?.kind === "link" ? entry.target : undefined;
  }

  /** The names in a directory, through a link at its end too; none when it is no directory. */
  list(path: string): readonly string[] {
    const at = this.resolve(path);
    return at === undefined ? [] : this.#files.names(at);
  }

  /** The path without links in it; undefined when they go round. @param last whether a link at its end is followed */
  resolve(path: string, last = true): string | undefined {
    const rest = partsOf(path).reverse();
    let at = "";
    for (let followed = 0; rest.length > 0; ) {
      const part = rest.pop()!;
      if (part === "..") {
        at = at.slice(0, Math.max(0, at.lastIndexOf("/")));
        continue;
      }
      const next = `${at}/${part}`;
      const entry = last || rest.length > 0 ? this.#files.find(next) : undefined;
      if (entry?.kind !== "link") {
        at = next;
        continue;
      }
      if (++followed > MOST_LINKS) return undefined;
      rest.push(...partsOf(entry.target).reverse());
      if (entry.target.startsWith("/")) at = "";
    }
    return at === "" ? "/" : at;
  }
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}
