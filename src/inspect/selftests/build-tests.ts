import { accessSync, constants, existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type KernelTree, occursInTests, type TestSuite } from "./kernel-tree.ts";
import { SelftestsError } from "./selftests-error.ts";

/** A program that has ended. */
export interface Finished {
  /** What it wrote on both its streams. */
  readonly output: string;
  /** null when a signal ended it. */
  readonly status: number | null;
}

/** Runs a program to its end. Rejects with the system's error when it cannot be started. */
export type Run = (command: string, args: readonly string[]) => Promise<Finished>;

/** A test program that was built. */
export interface TestProgram {
  readonly suite: TestSuite["name"];
  readonly path: string;
}

/**
 * Builds the tests with the kernel's own makefiles, against the tree's own headers; the tree itself stays as it is.
 * @param suites of the tree's
 * @param folder where everything goes; it is used again when it holds an earlier build
 * @param run starts make
 * @throws SelftestsError with what make said
 */
export async function buildTests(
  tree: KernelTree,
  suites: readonly TestSuite[],
  folder: string,
  run: Run,
): Promise<readonly TestProgram[]> {
  makeFolder(folder);
  // an in-tree build has made its headers in the tree, and refuses others elsewhere
  const inTree = existsSync(join(tree.path, ".config")) && existsSync(join(tree.path, "usr/include/linux"));
  if (!inTree) await make(run, "the kernel's headers", ["-C", tree.path, `O=${join(folder, "kernel")}`, "headers"]);
  const headers = join(inTree ? tree.path : join(folder, "kernel"), "usr/include");
  const programs: TestProgram[] = [];
  for (const suite of suites) programs.push(...(await buildSuite(suite, join(folder, suite.name), headers, run)));
  return programs;
}

async function buildSuite(
  suite: TestSuite,
  output: string,
  headers: string,
  run: Run,
): Promise<readonly TestProgram[]> {
  makeFolder(output);
  await make(run, "the selftests", [
    "-C",
    suite.tests,
    `OUTPUT=${output}`,
    `KHDR_INCLUDES=-isystem ${headers}`,
    ...patches(suite),
  ]);
  const programs = readdirSync(output)
    .filter((name) => !name.includes(".") && isProgram(join(output, name)))
    .sort();
  if (programs.length === 0) throw new SelftestsError(`${suite.tests}: make built no test`);
  return programs.map((name) => ({ suite: suite.name, path: join(output, name) }));
}

/** Linux 7.2.y uses calloc_assert in a fix whose definition came with 7.3: it checks that calloc succeeded. */
function patches(suite: TestSuite): readonly string[] {
  const missing = occursInTests(suite, /\bcalloc_assert\(/) && !occursInTests(suite, /#\s*define\s+calloc_assert\b/);
  return missing ? ["EXTRA_CFLAGS=-Dcalloc_assert=calloc"] : [];
}

async function make(run: Run, what: string, args: readonly string[]): Promise<void> {
  const { status, output } = await run("make", ["-s", `-j${availableParallelism()}`, ...args]).catch(
    (error: NodeJS.ErrnoException) => {
      throw new SelftestsError(`make cannot be started (${error.code ?? error.message}); install it`);
    },
  );
  if (status !== 0)
    throw new SelftestsError(
      `${what} do not build (gcc, make, and the headers of libuuid and libcap are needed):`,
      output.trimEnd(),
    );
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new SelftestsError(
      `${path}: no folder can be made there (${(error as NodeJS.ErrnoException).code ?? error})`,
    );
  }
}

function isProgram(path: string): boolean {
  if (!statSync(path).isFile()) return false;
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
