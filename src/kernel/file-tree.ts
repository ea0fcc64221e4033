/**
 * A tree of files as data: what the host's /sys and /dev hold beside the nodes. machine/ makes it, a transport puts it
 * where a program can see it.
 */
export interface FileTree {
  /** Real directories whose other entries stay visible while ours are put in, e.g. /sys/bus/pci. */
  readonly grafts: readonly Graft[];
  /** Directories that exist even when empty. */
  readonly directories: readonly string[];
  /** Contents by absolute path. */
  readonly files: ReadonlyMap<string, FileContent>;
  /** Link targets (verbatim, usually relative) by absolute path. */
  readonly links: ReadonlyMap<string, string>;
}

export interface Graft {
  readonly directory: string;
  /** Entries of the real directory that must not show through, as exact names; "*" hides all of them. */
  readonly hidden: readonly string[];
}

export interface FileContent {
  /** What a read gives now. May throw KernelError. */
  readonly content: string | Uint8Array;
  /** Bytes of the file, where it is larger than its content: zeros follow, which take no room. */
  readonly size?: number;
  /** Permission bits; 0o444 for what only reports, 0o644 for what can be written. */
  readonly mode: number;
  /**
   * What a write does: `text` is all that one write() brings up to a NUL, since the kernel takes it as a string, each
   * byte a character. Throws KernelError; WaitsError when the writer of a real host would wait. Absent: nothing
   * happens, and the writer is told so.
   */
  readonly write?: (text: string) => void;
}
