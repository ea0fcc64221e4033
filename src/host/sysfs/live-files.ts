import { fail } from "../../kernel/errors.ts";
import { FileLookup } from "../../kernel/file-lookup.ts";
import { writeText } from "../../kernel/host-files.ts";
import type { Host } from "../host.ts";

/** The files of the host's /sys and /dev by path, as a program on it finds and writes them. */
export class LiveFiles {
  readonly #host: Host;
  readonly #names: FileLookup;

  constructor(host: Host) {
    this.#host = host;
    this.#names = new FileLookup(host.files);
  }

  /**
   * echo text > path. Throws the errno of that write; EBUSY where a kernel would have the writer wait until a device is
   * closed, and nothing has changed then. EACCES for a file that is not written to, or that this model does nothing
   * with.
   */
  write(path: string, text: string): void {
    const entry = this.#names.find(path);
    if (entry === undefined) fail("ENOENT", `${path} is not on this host`);
    if (entry.kind !== "file") fail("EISDIR", `${path} is a directory`);
    if ((entry.file.mode & 0o222) === 0) fail("EACCES", `${path} cannot be written`);
    writeText(path, entry.file, text);
  }

  /** cat path, each byte a character. Throws ENOENT, EISDIR, EACCES (a file that is only written to). */
  read(path: string): string {
    const entry = this.#names.find(path);
    if (entry === undefined) fail("ENOENT", `${path} is not on this host`);
    if (entry.kind !== "file") fail("EISDIR", `${path} is a directory`);
    if ((entry.file.mode & 0o444) === 0) fail("EACCES", `${path} can only be written`);
    const { content } = entry.file;
    // each byte is a character, which no decoder's "latin1" says
    return typeof content === "string" ? content : Buffer.from(content).toString("latin1");
  }

  /** Whether there is a file, a folder or a link of that path. */
  exists(path: string): boolean {
    return this.#isNode(path) || this.#names.find(path) !== undefined;
  }

  /** readlink path: where the link at the end of a path leads, as it stands there; undefined for what is no link. */
  readlink(path: string): string | undefined {
    return this.#names.readlink(path);
  }

  /** basename $(readlink path). Throws ENOENT, EINVAL (no link). */
  linkName(path: string): string {
    const target = this.readlink(path);
    if (target !== undefined) return target.slice(target.lastIndexOf("/") + 1);
    fail(this.exists(path) ? "EINVAL" : "ENOENT", `${path} is no link`);
  }

  /** ls path: the names in a directory, sorted. Throws ENOENT, ENOTDIR. */
  list(path: string): readonly string[] {
    const at = this.#names.resolve(path);
    const entry = at === undefined ? undefined : this.#host.files.find(at);
    if (entry === undefined) fail("ENOENT", `${path} is not on this host`);
    if (entry.kind !== "directory") fail("ENOTDIR", `${path} is no directory`);
    const names = new Set(this.#host.files.names(at!));
    for (const { path: node } of this.#host.deviceNodes())
      if (node.startsWith(`${at}/`)) names.add(node.slice(at!.length + 1).split("/", 1)[0]!);
    return [...names].sort();
  }

  #isNode(path: string): boolean {
    return this.#host.deviceNodes().some((node) => node.path === path);
  }
}
