import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SOURCES = ["calls", "supervisor", "ioat-copy", "process-copy", "started"];
/** A device of the default host, and the DMA engine of `lab`. */
export const DEVICE = "0000:00:1b.0";
export const DMA_ENGINE = "0000:01:00.0";

/** The compiled programs and the command lines that they are run with. */
export class Programs {
  #folder = mkdtempSync(join(tmpdir(), "uvfio-bench-"));

  constructor() {
    for (const name of SOURCES) {
      const source = join(ROOT, "bench/c", `${name}.c`);
      const args = ["-O2", "-Wall", "-static", "-o", this.path(name), source];
      const built = spawnSync("gcc", args, { encoding: "utf8" });
      if (built.status !== 0)
        throw new Error(`bench needs gcc, libc's static library and <linux/vfio.h>:\n${built.stderr}`);
    }
  }

  path(name) {
    return join(this.#folder, name);
  }

  /** uvfio with a program, on the default host or another. */
  uvfio(program, { host } = {}) {
    return [process.execPath, join(ROOT, "dist/command/main.js"), "run", ...(host ? ["-m", host] : []), "--", ...program];
  }

  /** The baseline in C with a program. */
  supervisor(program) {
    return [this.path("supervisor"), ...program];
  }

  /** The client that times calls; with a device it sets a container up, as it can under uvfio. */
  calls(call, count, device) {
    return [this.path("calls"), call, String(count), ...(device ? [device] : [])];
  }

  remove() {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
