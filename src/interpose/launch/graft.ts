import fs from "node:fs";
import path from "node:path";
import type { Graft } from "../../kernel/file-tree.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { InterposerError } from "../interposer-error.ts";
import { AT_FDCWD, MS_BIND, MS_NOSUID, MS_REC, O_CLOEXEC, O_DIRECTORY } from "../linux.ts";
import type { CallList } from "./call-list.ts";
import { failed, makeFile } from "./file-calls.ts";

/**
 * Puts a tmpfs over a real directory and shows the real entries in it again, as bind mounts: so the tree can add
 * entries, and listing, reading and linking stay the kernel's own work.
 * @param owned names in the directory that the tree itself defines: the real ones stay hidden
 * @param scratch a descriptor that is free in the process that makes the calls; undefined when that may change its
 * working directory, and has it changed: names in it are found in half the time
 */
export function graft(
  list: CallList,
  { directory, hidden }: Graft,
  owned: ReadonlySet<string>,
  scratch: number | undefined,
): void {
  const entries = hidden.includes("*") ? [] : fs.readdirSync(directory, { withFileTypes: true });
  // While the tmpfs covers it the real directory stays reachable: as the working directory, or through a descriptor, of
  // a number that is known beforehand.
  if (scratch === undefined) list.call(HOST_CALLS.chdir, [directory], (errno) => failed(directory, errno));
  else {
    const real = list.call(HOST_CALLS.openat, [AT_FDCWD, directory, O_DIRECTORY | O_CLOEXEC]);
    list.call(HOST_CALLS.dup3, [real, scratch, O_CLOEXEC]);
    list.call(HOST_CALLS.close, [real]);
  }
  const from = scratch === undefined ? "" : `/proc/self/fd/${scratch}/`;
  mountTmpfs(list, directory);
  for (const entry of entries) {
    if (hidden.includes(entry.name) || owned.has(entry.name)) continue;
    const to = `${directory}/${entry.name}`;
    if (entry.isSymbolicLink()) {
      list.call(HOST_CALLS.symlinkat, [fs.readlinkSync(to), AT_FDCWD, to]);
      continue;
    }
    if (entry.isDirectory()) list.call(HOST_CALLS.mkdirat, [AT_FDCWD, to, 0o777]);
    else makeFile(list, to, 0o666);
    // An entry that cannot be bound (a mount that hides something in a user namespace, say) is left empty rather than
    // failing the run.
    list.call(HOST_CALLS.mount, [`${from}${entry.name}`, to, 0, MS_BIND | MS_REC, 0]);
  }
  if (scratch !== undefined) list.call(HOST_CALLS.close, [scratch]);
}

export function mountTmpfs(list: CallList, directory: string): void {
  list.call(
    HOST_CALLS.mount,
    ["uvfio", directory, "tmpfs", MS_NOSUID, "mode=755"],
    (errno) =>
      new InterposerError(
        errno === "EPERM" || errno === "EACCES" ? "not-permitted" : "tree-failed",
        `cannot mount over ${directory} (${errno})`,
      ),
  );
}

/**
 * Grafts that can be done without: what the tree has in their directories is whole directories that are mounted, real
 * ones of the same names are there to be mounted over, and nothing else is to be hidden. A graft of a directory with
 * some dozen entries takes as many mounts.
 * @param paths all that the tree has
 * @param mounted directories of the tree that will be mounted where they belong
 * @returns by the directories of such grafts, what is mounted over in them
 */
export function coveredDirectly(
  asked: readonly Graft[],
  paths: readonly string[],
  mounted: readonly string[],
): Map<string, ReadonlySet<string>> {
  const grafted = new Set(asked.map(({ directory }) => directory));
  const others = new Set<string>();
  const places = new Map<string, Set<string>>();
  const isPlaced = new Set(mounted);
  for (const each of paths) {
    const directory = nearest(each, grafted);
    if (directory === undefined || others.has(directory)) continue;
    if (!isPlaced.has(each) || path.dirname(each) !== directory || !isDirectory(each)) others.add(directory);
    else if (places.has(directory)) places.get(directory)!.add(each);
    else places.set(directory, new Set([each]));
  }
  for (const { directory, hidden } of asked) {
    const here = places.get(directory);
    const isLeft = (name: string) => !here?.has(`${directory}/${name}`) && isThere(`${directory}/${name}`);
    if (others.has(directory) || hidden.includes("*") || hidden.some(isLeft)) places.delete(directory);
  }
  return places;
}

/**
 * The grafts that a set of paths needs: those asked for, where their directory exists, and for every path that none of
 * them covers the nearest existing directory above it. Outer ones first.
 */
export function planGrafts(asked: readonly Graft[], paths: readonly string[]): Graft[] {
  const plan = new Map<string, Graft>();
  const missing: string[] = [];
  for (const { directory, hidden } of asked) {
    if (!isDirectory(directory)) missing.push(directory);
    else plan.set(directory, { directory, hidden: [...(plan.get(directory)?.hidden ?? []), ...hidden] });
  }
  for (const wanted of [...missing, ...paths]) {
    if (nearest(wanted, plan) !== undefined) continue;
    let above = path.dirname(wanted);
    while (!isDirectory(above)) above = path.dirname(above);
    if (above === "/") throw new InterposerError("bad-input", `${wanted}: there is no directory to put it into`);
    plan.set(above, { directory: above, hidden: [] });
  }
  return [...plan.values()].sort((a, b) => a.directory.length - b.directory.length);
}

/** By grafted directory, the names directly in it that paths define, where no other graft lies deeper. */
export function ownedNames(paths: readonly string[], grafts: readonly Graft[]): Map<string, Set<string>> {
  const owned = new Map(grafts.map(({ directory }) => [directory, new Set<string>()]));
  for (const each of paths) {
    const directory = nearest(path.dirname(each), owned);
    if (directory !== undefined) owned.get(directory)!.add(each.slice(directory.length + 1).split("/", 1)[0]!);
  }
  return owned;
}

/** The deepest of some directories that a path is, or lies below. */
export function nearest(
  candidate: string,
  directories: { readonly has: (directory: string) => boolean },
): string | undefined {
  for (let at = candidate; at !== "/" && at !== ""; at = at.slice(0, at.lastIndexOf("/")))
    if (directories.has(at)) return at;
  return undefined;
}

function isThere(candidate: string): boolean {
  return fs.lstatSync(candidate, { throwIfNoEntry: false }) !== undefined;
}

function isDirectory(candidate: string): boolean {
  return fs.statSync(candidate, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
