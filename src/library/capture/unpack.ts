import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { printable } from "../../kernel/printable.ts";
import { CaptureError } from "../../machine/capture/capture-error.ts";

/** Of an archive: members, bytes of its files as it declares them, and how long tar may take. Milliseconds. */
const MEMBERS_MAX = 400_000;
const BYTES_MAX = 1 << 30;
const TAR_MS = 120_000;
/** Of tar's list: a line for each member. */
const LIST_MAX = 256 << 20;

/** A copy of a host's files, and how to be rid of what was made for it. */
export interface Copied {
  /** The folder with sys, proc and dev. */
  readonly root: string;
  remove(): void;
}

/**
 * The folder of a host's files that were copied: itself, the one folder in it that has them, or what an archive holds,
 * unpacked into a temporary folder.
 * @throws CaptureError for what is neither, an archive that is too large, and one that tar cannot read
 */
export function copiedHost(path: string): Copied {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw new CaptureError(`--from ${printable(path)}: it is not there`);
  if (found.isDirectory()) return { root: rootIn(path, path), remove() {} };
  if (!found.isFile()) throw new CaptureError(`--from ${printable(path)}: neither a folder nor an archive`);
  const folder = mkdtempSync(join(tmpdir(), "uvfio-capture-"));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    unpack(path, folder);
    return { root: rootIn(folder, path), remove };
  } catch (error) {
    remove();
    throw error;
  }
}

/** The folder that has a sys in it: this one, or one or two below. */
function rootIn(folder: string, path: string): string {
  const hasSys = (candidate: string) =>
    statSync(join(candidate, "sys"), { throwIfNoEntry: false })?.isDirectory() === true;
  let level = [folder];
  for (let depth = 0; depth < 3; depth++) {
    const root = level.find(hasSys);
    if (root !== undefined) return root;
    level = level.flatMap((each) =>
      readdirSync(each, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => join(each, entry.name)),
    );
  }
  throw new CaptureError(`--from ${printable(path)}: no folder sys in it, nor in its folders`);
}

/** A line of tar's verbose list: kind and rights, owner, bytes or device number, date, time, name. */
const LISTED = /^(.)\S+ +\S+ +(\d+|\d+, ?\d+) +\S+ +\S+ +(.*)$/;

function unpack(path: string, folder: string): void {
  const list = tar(["-tvf", path, "--quoting-style=literal"], path);
  let bytes = 0;
  let members = 0;
  const nodes: string[] = [];
  for (const line of list.split("\n")) {
    const [, kind, size, name] = LISTED.exec(line) ?? [];
    if (kind === undefined) continue;
    members++;
    if (kind === "-") bytes += Number(size);
    // a node of a device is there or not, which is all that counts
    if (kind === "c" || kind === "b") nodes.push(name!);
  }
  if (members > MEMBERS_MAX || bytes > BYTES_MAX)
    throw new CaptureError(
      `--from ${printable(path)}: ${members} members of ${bytes} bytes are more than a host's files (at most ${MEMBERS_MAX}, ${BYTES_MAX >> 20} MiB)`,
    );
  // nodes of devices are left out; nothing of the archive's owners is taken over
  tar(["-xf", path, "-C", folder, "--no-same-owner", "--no-same-permissions", "--exclude=dev/*"], path);
  openFolders(folder);
  for (const node of nodes.filter((name) => /(?:^|\/)dev\/(?:iommu|vfio\/[\w/-]+)$/.test(name) && !name.includes("..")))
    touch(join(folder, node));
}

/** Folders of /sys may not be written to, and could not be removed then. */
function openFolders(folder: string): void {
  chmodSync(folder, 0o700);
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) openFolders(join(folder, entry.name));
}

function touch(path: string): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, "");
}

function tar(args: readonly string[], path: string): string {
  const { status, stdout, stderr, error } = spawnSync("tar", args, {
    encoding: "latin1",
    maxBuffer: LIST_MAX,
    timeout: TAR_MS,
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (error && (error as NodeJS.ErrnoException).code === "ENOENT")
    throw new CaptureError(
      `--from ${printable(path)}: tar is needed to unpack it, and is not found (give a folder instead)`,
    );
  if (error || status !== 0) {
    const why = error ? error.message : (stderr.split("\n").find((line) => line !== "") ?? `status ${status}`);
    throw new CaptureError(`--from ${printable(path)}: it cannot be unpacked: ${printable(why, 200)}`);
  }
  return stdout;
}
