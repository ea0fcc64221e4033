import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const UVFIO = join(ROOT, "dist/command/main.js");

/** What takes longer than that hangs, also on a machine that does much else. */
const HANGS_MS = 170_000;

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. */
export function finished(
  command: string,
  args: readonly string[],
  options: { cwd?: string; input?: string; timeout?: number; env?: NodeJS.ProcessEnv } = {},
): Finished {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    timeout: HANGS_MS,
    ...options,
  });
  if (error) throw error;
  return { status, stdout, stderr };
}

export function uvfio(...args: string[]): Finished {
  return finished(process.execPath, [UVFIO, ...args]);
}

/** Whether a compiler is here that finds <linux/vfio.h>. CI installs it; elsewhere tests that need it are skipped. */
export const hasCompiler =
  spawnSync("gcc", ["-fsyntax-only", "-x", "c", "-"], { input: "#include <linux/vfio.h>\n" }).status === 0;

/** A folder for a test file's own binaries and files. */
export function scratchFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "uvfio-test-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Compiles test/clients/NAME.c; returns the binary's path. */
export function compile(name: string, folder: string, ...flags: string[]): string {
  const binary = join(folder, `${name}${flags.join("")}`);
  const built = finished("gcc", [
    "-O1",
    "-Wall",
    "-Werror",
    ...flags,
    "-o",
    binary,
    join(ROOT, `test/clients/${name}.c`),
    "-lpthread",
  ]);
  if (built.status !== 0) throw new Error(built.stderr);
  return binary;
}
