import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
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
 * @throws SelftestsError when it is none, or one without VFIO selftests (they came with Linux 6.18)
 */
export function openKernelTree(path: string): KernelTree {
  const version = (name: string) => {
    const makefile = join(path, "Makefile");
    const text = existsSync(makefile) ? readFileSync(makefile, "utf8") : "";
    return text.match(new RegExp(`^${name} = (\\d+)$`, "m"))?.[1];
  };
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

/** Whether a word occurs in the tests' sources after one of `before`, as a definition or a use has it. */
export function occursInTests(tree: KernelTree, pattern: RegExp): boolean {
  return readdirSync(tree.tests, { recursive: true, encoding: "utf8" }).some(
    (file) => /\.[ch]$/.test(file) && pattern.test(readFileSync(join(tree.tests, file), "utf8")),
  );
}
