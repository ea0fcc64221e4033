import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Release } from "../../kernel/releases.ts";
import { InputFileError, readInput } from "../../machine/input-file.ts";
import { SelftestsError } from "./selftests-error.ts";

/** Tests of one kind in a kernel's source. */
export interface TestSuite {
  readonly name: "vfio" | "iommu";
  /** Its folder, tools/testing/selftests/NAME. */
  readonly tests: string;
}

/** A kernel's source, unpacked. */
export interface KernelTree {
  readonly path: string;
  /** As `--kernel` takes it: "6.18". */
  readonly release: string;
  /** Those that can run here: VFIO's, and since 7.2 iommufd's. */
  readonly suites: readonly TestSuite[];
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
  const suite = (name: TestSuite["name"]) => ({ name, tests: join(path, "tools/testing/selftests", name) });
  const suites = [suite("vfio"), suite("iommu")].filter(({ tests }) => existsSync(join(tests, "Makefile")));
  if (suites[0]?.name !== "vfio")
    throw new SelftestsError(`${path}: Linux ${release} has no tools/testing/selftests/vfio; take 6.18 or newer`);
  // iommufd's talk to a driver of their release, and the one that is here is of 7.2
  const known = new Release(release).has("selftestCommand");
  return { path, release, suites: suites.filter(({ name }) => name === "vfio" || known) };
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
export function occursInTests({ tests }: TestSuite, pattern: RegExp): boolean {
  return readdirSync(tests, { recursive: true, encoding: "utf8" }).some(
    (file) => /\.[ch]$/.test(file) && pattern.test(read(join(tests, file))),
  );
}
