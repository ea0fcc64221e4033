import { fail, KernelError } from "./errors.ts";
import type { FileContent, FileTree, Graft } from "./file-tree.ts";

/** What is at a path of the host's /sys or /dev. */
export type HostEntry =
  | { readonly kind: "directory" }
  | { readonly kind: "link"; readonly target: string }
  | { readonly kind: "file"; readonly file: FileContent };

/**
 * The host's /sys, and what its /dev has beside nodes, as they are now. Paths are absolute and in their shortest form;
 * no link is followed.
 */
export interface HostFiles {
  find(path: string): HostEntry | undefined;
  /** The names in a directory, sorted; none where there is no directory. */
  names(path: string): readonly string[];
  /** Everything as it is now, for who cannot ask again later. */
  snapshot(): FileTree;
  /** Real directories that the host's files are put into. */
  readonly grafts: readonly Graft[];
  /**
   * Directories of which everything below is the host's own, so that they can be served apart; none lies in another.
   */
  readonly roots: readonly string[];
  /** What lies in none of these, as it is now. */
  readonly rest: FileTree;
}

/**
 * Writes to a file of the host. Throws what the file's write() throws, and EACCES for one with which nothing is done.
 * @param text each byte a character
 */
export function writeText(path: string, { write }: FileContent, text: string): void {
  if (write === undefined) fail("EACCES", `${path} cannot be written here: the model does nothing with it`);
  write(text.split("\0", 1)[0]!);
}

/** A write whose writer waits until something is given back: it is made again then. */
export class WaitsError extends KernelError {}
