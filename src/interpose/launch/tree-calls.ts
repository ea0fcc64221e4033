import fs from "node:fs";
import path from "node:path";
import type { FileContent, FileTree, Graft } from "../../kernel/file-tree.ts";
import type { DeviceNode } from "../../kernel/host-kernel.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { InterposerError } from "../interposer-error.ts";
import { close } from "../libc.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MS_BIND,
  MS_NOSUID,
  MS_RDONLY,
  MS_REMOUNT,
  O_CLOEXEC,
  O_PATH,
  S_IFCHR,
} from "../linux.ts";
import { NULL_DEVICE } from "../null-device.ts";
import { openPath } from "../path-stat.ts";
import { CallList, type Result } from "./call-list.ts";
import { failed, makeFile, writeFile } from "./file-calls.ts";
import { coveredDirectly, graft, mountTmpfs, nearest, ownedNames, planGrafts } from "./graft.ts";

const DIRECTORY_MODE = 0o755;
/** Bytes of calls that are enough for a list; the launcher takes 16 MiB, and one file has at most 4 KiB. */
const LONG_LIST = 0x10_0000;

/**
 * How the tree and the nodes come to where the program will see them: calls for a process with mounts of its own and an
 * umask of 0.
 */
export class TreeCalls {
  readonly #tree: FileTree;
  readonly #nodes: readonly DeviceNode[];
  readonly #files: [path: string, content: FileContent][] = [];
  readonly #alone = new Map<string, FileContent>();
  readonly #grafts: readonly Graft[];
  /** Real directories that something is mounted over. */
  readonly #covered: readonly string[];
  /** Its calls that make nodes. */
  #last = new CallList();
  readonly #made: Result[] = [];
  readonly #owned: ReadonlyMap<string, ReadonlySet<string>>;

  /** @param mounted directories of the tree that somebody else will mount where they belong */
  constructor(tree: FileTree, nodes: readonly DeviceNode[], mounted: readonly string[]) {
    this.#tree = tree;
    this.#nodes = nodes;
    for (const { path: node } of nodes) checkPath(node);
    const grafted = new Set(tree.grafts.map(({ directory }) => directory));
    for (const [file, content] of tree.files) {
      checkPath(file);
      if (standsAlone(file, grafted)) this.#alone.set(file, content);
      else this.#files.push([file, content]);
    }
    const paths = [...nodes.map((n) => n.path), ...this.#files.map(([file]) => file), ...tree.links.keys()];
    paths.push(...tree.directories.filter((d) => !grafted.has(d)));
    const covered = coveredDirectly(tree.grafts, paths, mounted);
    this.#covered = [...covered.values()].flatMap((places) => [...places]);
    const isCovered = new Set(this.#covered);
    const others = paths.filter((each) => !isCovered.has(each));
    this.#grafts = planGrafts(
      tree.grafts.filter(({ directory }) => !covered.has(directory)),
      others,
    );
    this.#owned = ownedNames(others, this.#grafts);
  }

  /** Directories that the program sees another way than this process. */
  get grafted(): ReadonlySet<string> {
    return new Set([...this.#grafts.map(({ directory }) => directory), ...this.#covered]);
  }

  /** From now on nothing is made or changed in /sys. /dev is a real host's: whoever may there, may. */
  sealGrafts(list: CallList): void {
    for (const { directory } of this.#grafts)
      if (`${directory}/`.startsWith("/sys/"))
        list.call(HOST_CALLS.mount, ["none", directory, 0, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, 0]);
  }

  /**
   * Makes room beside what is there.
   * @param scratch a descriptor that is free in the process
   * @param userNamespace the process is in one that was made for it
   */
  addGrafts(list: CallList, scratch: number, userNamespace: boolean): void {
    const returns = mayReturn(userNamespace);
    const here = returns ? list.call(HOST_CALLS.openat, [AT_FDCWD, ".", O_PATH | O_CLOEXEC]) : undefined;
    for (const each of this.#grafts) graft(list, each, this.#owned.get(each.directory)!, returns ? undefined : scratch);
    if (here === undefined) return;
    list.call(HOST_CALLS.fchdir, [here]);
    list.call(HOST_CALLS.close, [here]);
  }

  /** Once all lists are answered: in a user namespace mknod is EPERM, and a plain file stands in. */
  addStandIns(list: CallList): void {
    for (const [index, { path: node, mode }] of this.#nodes.entries())
      if (this.#last.result(this.#made[index]!) < 0) makeFile(list, node, mode & 0o777);
  }

  /** What is new; behind the grafts. In as many lists as it takes, each of which can be sent as it comes. */
  *files(): Generator<CallList> {
    let list = new CallList();
    const made = new Set<string>(["/"]);
    const makeDirectory = (directory: string) => {
      if (made.has(directory)) return;
      made.add(directory);
      makeDirectory(path.dirname(directory));
      list.call(HOST_CALLS.mkdirat, [AT_FDCWD, directory, DIRECTORY_MODE]);
    };
    for (const directory of this.#tree.directories) makeDirectory(directory);
    for (const { directory } of this.#tree.grafts) makeDirectory(directory);
    for (const [file, content] of this.#files) {
      makeDirectory(path.dirname(file));
      writeFile(list, file, content);
      if (list.size < LONG_LIST) continue;
      yield list;
      list = new CallList();
    }
    for (const [at, target] of this.#tree.links) {
      makeDirectory(path.dirname(at));
      list.call(HOST_CALLS.symlinkat, [target, AT_FDCWD, at], (errno) => failed(at, errno));
      if (list.size < LONG_LIST) continue;
      yield list;
      list = new CallList();
    }
    for (const node of this.#nodes) {
      makeDirectory(path.dirname(node.path));
      const made = list.call(HOST_CALLS.mknodat, [AT_FDCWD, node.path, S_IFCHR | (node.mode & 0o777), NULL_DEVICE]);
      this.#made.push(made);
    }
    coverFiles(list, this.#alone);
    this.#last = list;
    yield list;
  }
}

/** A file that exists outside of every graft (below /proc, say) is covered by itself, and nothing around it changes. */
function standsAlone(file: string, grafted: ReadonlySet<string>): boolean {
  if (nearest(file, grafted) !== undefined) return false;
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

function coverFiles(list: CallList, files: ReadonlyMap<string, FileContent>): void {
  if (files.size === 0) return;
  // A tmpfs that is gone from the tree again as soon as its files are bound elsewhere; any directory serves to hold it.
  mountTmpfs(list, "/mnt");
  for (const [index, [file, content]] of [...files].entries()) {
    const copy = `/mnt/${index}`;
    writeFile(list, copy, content);
    list.call(HOST_CALLS.mount, [copy, file, 0, MS_BIND, 0], (errno) => failed(file, errno));
  }
  list.call(HOST_CALLS.umount2, ["/mnt", MNT_DETACH]);
}

/**
 * Whether the process comes back to its working directory once it has left it. It may have been given one that it may
 * not enter; and what root may everywhere it may not in a user namespace.
 */
function mayReturn(userNamespace: boolean): boolean {
  if (userNamespace && process.geteuid!() === 0) return false;
  const here = openPath(AT_FDCWD, ".", O_PATH | O_CLOEXEC);
  if (here >= 0) close(here);
  return here >= 0;
}

function checkPath(candidate: string): void {
  if (!candidate.startsWith("/") || /\/(?:\.{0,2}\/|\.{1,2}$)/.test(candidate)) {
    throw new InterposerError("bad-input", `"${candidate}" is not an absolute path in its shortest form`);
  }
}
