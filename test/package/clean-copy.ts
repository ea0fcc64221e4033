import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A folder for a test, which goes with it. */
export class Scratch {
  readonly path = mkdtempSync(join(tmpdir(), "uvfio-package-test-"));

  folder(name: string): string {
    const path = join(this.path, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/**
 * Copies what would be committed of this checkout, as it is now: no dist/, nothing that was made.
 * @param packages whether it has the packages that are installed here
 */
export function cleanCopy(into: string, { packages } = { packages: true }): void {
  const list = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: ROOT });
  for (const file of String(list).split("\0").filter(Boolean)) {
    mkdirSync(dirname(join(into, file)), { recursive: true });
    copyFileSync(join(ROOT, file), join(into, file));
  }
  if (packages) symlinkSync(join(ROOT, "node_modules"), join(into, "node_modules"));
}
