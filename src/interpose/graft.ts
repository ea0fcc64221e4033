import fs from "node:fs";
import path from "node:path";
import type { Graft } from "../kernel/file-tree.ts";
import { errnoName } from "../uapi/errno.ts";
import { InterposerError } from "./interposer-error.ts";
import { MS_BIND, MS_NOSUID, MS_REC } from "./linux.ts";
import { mount } from "./mount.ts";

/**
 * Puts a tmpfs over a real directory and shows the real entries in it again, as bind mounts: so the tree can add
 * entries, and listing, reading and linking stay the kernel's own work.
 * @param owned names in the directory that the tree itself defines: the real ones stay hidden
 */
export function graft({ directory, hidden }: Graft, owned: ReadonlySet<string>): void {
  // The real directory stays reachable through this descriptor while the tmpfs covers it.
  const real = fs.openSync(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    const entries = hidden.includes("*") ? [] : fs.readdirSync(directory, { withFileTypes: true });
    mountTmpfs(directory);
    for (const entry of entries) {
      if (hidden.includes(entry.name) || owned.has(entry.name)) continue;
      const to = path.join(directory, entry.name);
      const from = `/proc/self/fd/${real}/${entry.name}`;
      if (entry.isSymbolicLink()) {
        fs.symlinkSync(fs.readlinkSync(from), to);
        continue;
      }
      if (entry.isDirectory()) fs.mkdirSync(to);
      else fs.writeFileSync(to, "");
      // An entry that cannot be bound (a mount that hides something in a user namespace, say) is left empty rather than
      // failing the run.
      mount(from, to, null, MS_BIND | MS_REC, null);
    }
  } finally {
    fs.closeSync(real);
  }
}

export function mountTmpfs(directory: string): void {
  const result = mount("uvfio", directory, "tmpfs", MS_NOSUID, "mode=755");
  if (result < 0) {
    throw new InterposerError(
      result === -1 || result === -13 ? "not-permitted" : "tree-failed",
      `cannot mount over ${directory} (${errnoName(-result)})`,
    );
  }
}

/**
 * The grafts that a set of paths needs: those asked for, where their directory exists, and for every path that none of
 * them covers the nearest existing directory above it. Outer ones first.
 */
export function planGrafts(asked: readonly Graft[], paths: readonly string[]): Graft[] {
  const plan = new Map<string, Graft>();
  const cover = (directory: string, hidden: readonly string[]) => {
    const known = plan.get(directory);
    plan.set(directory, { directory, hidden: [...(known?.hidden ?? []), ...hidden] });
  };
  for (const { directory, hidden } of asked) {
    if (isDirectory(directory)) cover(directory, hidden);
  }
  const missing = asked.filter(({ directory }) => !isDirectory(directory)).map(({ directory }) => directory);
  for (const wanted of [...missing, ...paths]) {
    if ([...plan.keys()].some((directory) => isBelow(wanted, directory))) continue;
    let above = path.dirname(wanted);
    while (!isDirectory(above)) above = path.dirname(above);
    if (above === "/") throw new InterposerError("bad-input", `${wanted}: there is no directory to put it into`);
    cover(above, []);
  }
  return [...plan.values()].sort((a, b) => a.directory.length - b.directory.length);
}

/** Names directly in `directory` that `paths` define, except where another graft lies deeper. */
export function ownedNames(directory: string, paths: readonly string[], grafts: readonly Graft[]): Set<string> {
  const names = new Set<string>();
  for (const owned of paths) {
    if (!isBelow(owned, directory) || owned === directory) continue;
    const deeper = grafts.some(
      (other) =>
        other.directory !== directory && isBelow(other.directory, directory) && isBelow(owned, other.directory),
    );
    if (!deeper) names.add(owned.slice(directory.length + 1).split("/", 1)[0]!);
  }
  return names;
}

export function isBelow(candidate: string, directory: string): boolean {
  return candidate === directory || candidate.startsWith(directory === "/" ? "/" : `${directory}/`);
}

function isDirectory(candidate: string): boolean {
  return fs.statSync(candidate, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
