import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { bytesOfText } from "../../uapi/byte-text.ts";
import { UsageError } from "../usage-error.ts";

/** Hosts of a fleet. */
const HOSTS_MAX = 1_000_000;

/** Files of a folder that are hosts'. */
const HOST_FILE = /\.(?:ya?ml|json)$/;

/**
 * The hosts that -m names: a ready-made one or a file as it is, a pattern (hosts/*.yaml) every file that it matches, a
 * folder every YAML and JSON file in it; sorted by name.
 * @throws UsageError for a pattern or a folder with nothing in it
 */
export function expandHosts(names: readonly string[]): readonly string[] {
  const hosts = names.flatMap((name) => expand(name));
  if (hosts.length > HOSTS_MAX) throw new UsageError(`-m: ${hosts.length} hosts are too many (at most ${HOSTS_MAX})`);
  return hosts;
}

/** Whether a name stands for any number of hosts. */
export function namesMany(name: string): boolean {
  return isPattern(name) || isFolder(name);
}

function expand(name: string): readonly string[] {
  // text of several lines is a host
  if (name.includes("\n")) return [name];
  if (isFolder(name)) {
    const files = entries(name).filter((file) => HOST_FILE.test(file) && !isFolder(join(name, file)));
    if (files.length === 0) throw new UsageError(`-m ${name}: no host file (*.yaml, *.json) is in the folder`);
    return files.map((file) => join(name, file));
  }
  if (!isPattern(name)) return [name];
  const found = matching(name);
  if (found.length === 0) throw new UsageError(`-m ${name}: no file has such a name`);
  return found;
}

/** A file may have such characters in its name: then it is meant. */
function isPattern(name: string): boolean {
  return /[*?[]/.test(name) && !name.includes("\n") && !isThere(name);
}

function isThere(path: string): boolean {
  try {
    return statSync(bytesOfText(path), { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(bytesOfText(path), { throwIfNoEntry: false })?.isDirectory() === true;
  } catch {
    return false;
  }
}

function entries(folder: string): readonly string[] {
  try {
    return readdirSync(folder === "" ? "." : folder).sort();
  } catch {
    return [];
  }
}

/** Segment by segment, as a shell does it: * and ? stand for no slash, and for no dot at the beginning of a name. */
function matching(pattern: string): readonly string[] {
  let found = [pattern.startsWith("/") ? "/" : ""];
  const segments = pattern.split("/").filter((segment) => segment !== "");
  for (const [index, segment] of segments.entries()) {
    const isLast = index === segments.length - 1;
    const fits = /[*?[]/.test(segment) ? segmentPattern(segment) : undefined;
    found = found.flatMap((folder) => {
      const names = fits ? entries(folder).filter((name) => fits.test(name)) : [segment];
      return names.map((name) => join(folder, name)).filter((path) => (isLast ? isThere(path) : isFolder(path)));
    });
  }
  return found.filter((path) => !isFolder(path));
}

function segmentPattern(segment: string): RegExp {
  const source = segment.replace(/\[!?[^\]]+\]|[\s\S]/g, (part) => {
    if (part === "*") return "[^/]*";
    if (part === "?") return "[^/]";
    if (part.length > 1)
      return `[${part[1] === "!" ? "^" : ""}${part.slice(part[1] === "!" ? 2 : 1, -1).replace(/[\\^]/g, "\\$&")}]`;
    return part.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  });
  const dot = segment.startsWith(".") ? "" : "(?!\\.)";
  return new RegExp(`^${dot}${source}$`);
}
