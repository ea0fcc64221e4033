import fs from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, posix } from "node:path";
import type { HostFiles } from "../kernel/host-files.ts";
import type { DeviceNode } from "../kernel/host-kernel.ts";
import { Arena } from "../native/arena.ts";
import { ERRNO } from "../uapi/errno.ts";
import { briefly } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { InterposerError } from "./interposer-error.ts";
import { close, syscall } from "./libc.ts";
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH, OPEN_HOW_SIZE, RESOLVE_IN_ROOT } from "./linux.ts";
import { MOST_TRIES } from "./path-aside.ts";
import { openPath } from "./path-stat.ts";

const DIRECTORY_MODE = 0o755;
// struct open_how @0, a path @32
const PATH = 32;
const PATH_MAX = 4096;
const arena = new Arena(PATH + PATH_MAX);

/**
 * The host's files and nodes written down in a folder of this process's, for a program that can have no mounts: calls
 * that name one of them by its path are led there. What is below a directory that was opened so is the kernel's work
 * again: reading it, and paths that begin at it.
 */
export class LedTree {
  /** An O_PATH descriptor of the folder: the root directory of what is led there. */
  readonly fd: number;
  readonly #folder: string;
  readonly #led: ReadonlySet<string>;
  #isRemoved = false;

  /** @throws InterposerError where no folder can be written */
  constructor(files: HostFiles, nodes: readonly DeviceNode[]) {
    this.#folder = makeFolder();
    try {
      const { directories, files: contents, links } = files.snapshot();
      for (const directory of directories) this.#makeDirectory(directory);
      for (const [path, file] of contents) this.#write(path, file.content, file.mode, file.size);
      for (const [path, target] of links) {
        this.#makeDirectory(dirname(path));
        fs.symlinkSync(target, this.#folder + path);
      }
      for (const { path, mode } of nodes) this.#write(path, "", mode & 0o777);
      this.#led = ledPaths(files, nodes);
      this.fd = openPath(AT_FDCWD, this.#folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    } catch (error) {
      fs.rmSync(this.#folder, { recursive: true, force: true });
      const { code = String(error) } = error as NodeJS.ErrnoException;
      throw new InterposerError("tree-failed", `the host's files cannot be written to ${this.#folder} (${code})`);
    }
  }

  /** The folder, for messages. */
  get folder(): string {
    return this.#folder;
  }

  /**
   * Where a path leads in the folder, when it is one of the host's.
   * @param tid whose path it is, bytes as characters
   * @param directory where a relative one begins: a descriptor of the thread, or AT_FDCWD
   */
  lead(tid: number, directory: number, path: string): string | undefined {
    if (path === "") return undefined;
    const absolute = path.startsWith("/") ? path : `${placeOf(tid, directory) ?? ""}/${path}`;
    // Of ".." nobody knows what it leaves, as long as it is not known what is a link.
    const plain = absolute.split("/..", 1)[0]!.replaceAll(/\/(?:\.?\/)+/g, "/");
    for (let at = plain.replace(/\/\.?$/, ""); at !== ""; at = at.slice(0, at.lastIndexOf("/")))
      if (this.#led.has(at)) return absolute;
    return undefined;
  }

  /** Opens what a path leads to in the folder. A descriptor of ours, or a negative errno. */
  open(path: string, flags: number): number {
    arena.setU64(0, flags);
    arena.setU64(8, 0);
    arena.setU64(16, RESOLVE_IN_ROOT);
    if (path.length >= PATH_MAX) return -ERRNO.ENAMETOOLONG;
    const text = arena.byteText(PATH, path);
    const open = () => syscall(HOST_CALLS.openat2, this.fd, text, arena.address, OPEN_HOW_SIZE);
    return briefly(() => untilQuiet(open));
  }

  /** The program has ended. */
  remove(): void {
    if (this.#isRemoved) return;
    this.#isRemoved = true;
    close(this.fd);
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }

  #makeDirectory(path: string): void {
    fs.mkdirSync(this.#folder + path, { recursive: true, mode: DIRECTORY_MODE });
  }

  #write(path: string, content: string | Uint8Array, mode: number, size?: number): void {
    this.#makeDirectory(dirname(path));
    fs.writeFileSync(this.#folder + path, content);
    if (size !== undefined) fs.truncateSync(this.#folder + path, size);
    fs.chmodSync(this.#folder + path, mode);
  }
}

/**
 * Tries once more what met a rename or a mount somewhere on the machine: the kernel cannot tell then whether ".." has
 * left the root, and says EAGAIN (openat2(2)). The links of sysfs go through "..".
 */
function untilQuiet(open: () => number): number {
  let found = open();
  for (let tries = 1; found === -ERRNO.EAGAIN && tries < MOST_TRIES; tries++) found = open();
  return found;
}

/** In memory, where that can be. */
function makeFolder(): string {
  const { XDG_RUNTIME_DIR } = process.env;
  let refused = "";
  for (const above of ["/dev/shm", XDG_RUNTIME_DIR, tmpdir(), "/var/tmp"]) {
    if (above === undefined) continue;
    try {
      const folder = fs.mkdtempSync(join(above, "uvfio-host-"));
      fs.chmodSync(folder, DIRECTORY_MODE);
      return folder;
    } catch (error) {
      refused = `${above}: ${(error as NodeJS.ErrnoException).code}`;
    }
  }
  throw new InterposerError(
    "tree-failed",
    `without mounts uvfio needs a folder for the host's files, and none can be written (${refused}): name one with TMPDIR`,
  );
}

/** What the host has, or hides of the machine: that and all below it is led. */
function ledPaths({ roots, rest, grafts }: HostFiles, nodes: readonly DeviceNode[]): ReadonlySet<string> {
  const hidden = grafts.flatMap((graft) =>
    graft.hidden.map((name) => (name === "*" ? graft.directory : `${graft.directory}/${name}`)),
  );
  return new Set([...roots, ...hidden, ...rest.files.keys(), ...rest.links.keys(), ...nodes.map(({ path }) => path)]);
}

/** The path of a directory of a thread's. */
function placeOf(tid: number, directory: number): string | undefined {
  const name = directory === AT_FDCWD ? "cwd" : `fd/${directory}`;
  try {
    return posix.normalize(fs.readlinkSync(`/proc/${tid}/${name}`, "latin1"));
  } catch {
    return undefined;
  }
}
