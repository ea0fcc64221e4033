import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { InputFileError, readInput } from "../../machine/input-file.ts";
import { SelftestsError } from "./selftests-error.ts";

/** A kernel's source, unpacked. */
export interface KernelTree {
  readonly path: string;
  /** As `--kernel` takes it: "6.18". */
  readonly release: string;
  /** tools/testing/selftests/vfio. */
  readonly tests: string;
}

/**
 * Looks at a kernel's source tree.
 * @throws SelftestsError for another folder, and for a tree without VFIO selftests (they came with Linux 6.18)
 */
export function openKernelTree(path: string): KernelTree {
  const makefile = read(join(path, "Makefile"));
  const version = (name: string) => makefile.match(new RegExp(`^${name} = (\\d{1,4})$`, "m"))?.[1];
  const major = version("VERSION");
  const minor = version("PATCHLEVEL");
  if (major === undefined || minor === undefined)
    throw new SelftestsError(`${path}: no kernel source tree (no Makefile with VERSION and PATCHLEVEL)`);
  const release = `${major}.${minor}`;
  const tests = join(path, "tools/testing/selftests/vfio");
  if (!existsSync(join(tests, "Makefile")))
    throw new SelftestsError(`${path}: Linux ${release} has no tools/testing/selftests/vfio; take 6.18 or newer`);
  return { path, release, tests };
}

/** Bytes of a kernel's Makefile or of a test's source. */
const SOURCE_MAX = 16 << 20;

/** Nothing for a file that is not there, or that make could not read. */
function read(path: string): string {
  try {
    return readInput(path, SOURCE_MAX);
  } catch (error) {
    if (error instanceof InputFileError) return "";
    throw error;
  }
}

/** Whether a word occurs in the tests' sources after one of `before`, as a definition or a use has it. */
export function occursInTests(tree: KernelTree, pattern: RegExp): boolean {
  return readdirSync(tree.tests, { recursive: true, encoding: "utf8" }).some(
    (file) => /\.[ch]$/.test(file) && pattern.test(read(join(tree.tests, file))),
  );
}
