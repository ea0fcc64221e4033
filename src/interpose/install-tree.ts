import fs from "node:fs";
import path from "node:path";
import type { DeviceNode } from "../kernel/host-kernel.ts";
import { graft, isBelow, mountTmpfs, ownedNames, planGrafts } from "./graft.ts";
import { InterposerError } from "./interposer-error.ts";
import type { TreeMessage } from "./launch-protocol.ts";
import { MS_BIND } from "./linux.ts";
import { detach, makeCharacterDevice, mount } from "./mount.ts";

/**
 * The number of /dev/null. Nodes get it rather than their own: an open for reading only is not trapped, and with the
 * node's own number it would reach whatever driver of the real host has that number, or none. So it opens natively, and
 * the first VFIO request on it swaps the real thing in (see StandIns). What a path stat() then shows is a character
 * device with the wrong number; fstat() of a descriptor is answered with the right one.
 */
const NULL_DEVICE = { major: 1, minor: 3 };

/** Puts the tree and the nodes where the program will see them. Call with private mounts. Returns the grafted directories. */
export function installTree(tree: TreeMessage, nodes: readonly DeviceNode[]): string[] {
  for (const { path: node } of nodes) checkPath(node);
  for (const { path: file } of tree.files) checkPath(file);
  const grafted = tree.grafts.map(({ directory }) => directory);
  const inPlace = new Set(tree.files.filter((file) => standsAlone(file.path, grafted)).map((file) => file.path));
  const files = tree.files.filter((file) => !inPlace.has(file.path));
  const paths = [...nodes.map((n) => n.path), ...files.map((f) => f.path), ...tree.links.map(([at]) => at)];
  paths.push(...tree.directories.filter((d) => !grafted.includes(d)));
  const plan = planGrafts(tree.grafts, paths);
  for (const each of plan) graft(each, ownedNames(each.directory, paths, plan));

  const made = new Set<string>();
  const makeDirectory = (directory: string) => {
    if (made.has(directory)) return;
    fs.mkdirSync(directory, { recursive: true, mode: 0o755 });
    made.add(directory);
  };
  for (const directory of tree.directories) makeDirectory(directory);
  for (const { directory } of tree.grafts) makeDirectory(directory);
  for (const file of files) {
    makeDirectory(path.dirname(file.path));
    writeFile(file.path, file);
  }
  for (const [at, target] of tree.links) {
    makeDirectory(path.dirname(at));
    fs.symlinkSync(target, at);
  }
  for (const node of nodes) {
    makeDirectory(path.dirname(node.path));
    // In a user namespace mknod is EPERM, and a plain file stands in.
    if (makeCharacterDevice(node.path, node.mode & 0o777, NULL_DEVICE.major, NULL_DEVICE.minor) < 0) {
      fs.writeFileSync(node.path, "", { mode: node.mode & 0o777 });
    }
  }
  const alone = tree.files.filter((file) => inPlace.has(file.path));
  if (alone.length > 0) coverFiles(alone);
  return plan.map((each) => each.directory);
}

/** A file that exists outside of every graft (below /proc, say) is covered by itself, and nothing around it changes. */
function standsAlone(file: string, grafted: readonly string[]): boolean {
  if (grafted.some((directory) => isBelow(file, directory))) return false;
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

function coverFiles(files: TreeMessage["files"]): void {
  // A tmpfs that is gone from the tree again as soon as its files are bound elsewhere; any directory serves to hold it.
  const held = fs.openSync("/mnt", fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  mountTmpfs("/mnt");
  for (const [index, file] of files.entries()) {
    writeFile(`/mnt/${index}`, file);
    const result = mount(`/mnt/${index}`, file.path, null, MS_BIND, null);
    if (result < 0) throw new InterposerError("tree-failed", `cannot cover ${file.path}`);
  }
  detach("/mnt");
  fs.closeSync(held);
}

function writeFile(at: string, { mode, text, base64 }: TreeMessage["files"][number]): void {
  fs.writeFileSync(at, base64 === undefined ? (text ?? "") : Buffer.from(base64, "base64"), { mode });
}

function checkPath(candidate: string): void {
  if (!candidate.startsWith("/") || path.normalize(candidate) !== candidate) {
    throw new InterposerError("bad-input", `"${candidate}" is not an absolute path in its shortest form`);
  }
}
