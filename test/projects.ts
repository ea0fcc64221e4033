import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));
const root = dirname(folder);
/** Whoever needs these starts uvfio as a program, so that dist/ must be built. */
const STARTERS = [join(folder, "cli/uvfio.ts"), join(folder, "interpose/build.ts")];
const IMPORT = /(?:from|import\() ?"(\.[^"]+)"/g;

/** Whether a file of the tests starts uvfio as a program, itself or through what it imports. */
function startsPrograms(file: string, seen = new Set<string>()): boolean {
  if (STARTERS.includes(file)) return true;
  if (seen.has(file) || !file.startsWith(folder)) return false;
  seen.add(file);
  const text = readFileSync(file, "utf8");
  if (text.includes("/dist/")) return true;
  return [...text.matchAll(IMPORT)].some(([, target]) => startsPrograms(resolve(dirname(file), target!), seen));
}

function testsBelow(path: string): string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.name.endsWith(".test.ts") && !entry.parentPath.includes("/package"))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

const all = testsBelow(folder);
const relative = (file: string) => file.slice(root.length + 1);

/** Tests of the sources as they are: nothing is built for them. */
export const UNIT_TESTS = all.filter((file) => !startsPrograms(file)).map(relative);
/** Tests of the command and of programs under it. */
export const COMMAND_TESTS = all.filter((file) => startsPrograms(file)).map(relative);
