import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** A device of the default host, and the DMA engine of `lab`. */
export const DEVICE = "0000:00:1b.0";
export const DMA_ENGINE = "0000:01:00.0";

/** What a workload needs is not on this machine: a compiler, a library. The workload is skipped, visibly. */
export class NotHere extends Error {}

/** The programs in bench/c, compiled when they are first asked for, and the command lines that they are run with. */
export class Programs {
  /** Whether there is time for more rounds and larger sizes. */
  long;
  #folder = mkdtempSync(join(tmpdir(), "uvfio-bench-"));
  #built = new Map();

  constructor({ long = false } = {}) {
    this.long = long;
  }

  /**
   * A program of bench/c.
   * @param packages libraries that it needs, as pkg-config knows them; without any it is linked statically
   * @throws NotHere
   */
  path(name, packages = []) {
    if (!this.#built.has(name)) this.#built.set(name, this.#build(name, packages));
    const failure = this.#built.get(name);
    if (failure !== undefined) throw new NotHere(failure);
    return join(this.#folder, name);
  }

  /** A place for a file that programs read or write. */
  file(name) {
    return join(this.#folder, name);
  }

  /** The command with these words. */
  command(...words) {
    return [process.execPath, join(ROOT, "dist/command/main.js"), ...words];
  }

  /** uvfio with a program, on the default host or another, and more options of `uvfio run`. */
  uvfio(program, { host, options = [] } = {}) {
    return [...this.command("run"), ...(host ? ["-m", host] : []), ...options, "--", ...program];
  }

  /** The baseline in C with a program, and its options. */
  supervisor(program, options = []) {
    return [this.path("supervisor"), ...options, ...program];
  }

  /** The client that times calls; with a device it sets a container up, as it can under uvfio. */
  calls(call, count, device) {
    return [this.path("calls"), call, String(count), ...(device ? [device] : [])];
  }

  remove() {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Returns why it cannot be had; undefined when it is built. */
  #build(name, packages) {
    let flags = ["-static"];
    if (packages.length > 0) {
      const found = spawnSync("pkg-config", ["--cflags", "--libs", ...packages], { encoding: "utf8" });
      if (found.status !== 0) return `pkg-config knows no ${packages.join(", ")}`;
      flags = found.stdout.trim().split(/\s+/);
    }
    const source = join(ROOT, "bench/c", `${name}.c`);
    const built = spawnSync("gcc", ["-O2", "-Wall", "-o", join(this.#folder, name), source, ...flags], {
      encoding: "utf8",
    });
    if (built.error) return `gcc: ${built.error.message}`;
    return built.status === 0 ? undefined : `gcc cannot build ${name}.c: ${built.stderr.split("\n")[0]}`;
  }
}
