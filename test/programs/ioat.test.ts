import { afterAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, scratchFolder, uvfio } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

describe.skipIf(!hasCompiler)("a driver in C for the ioat DMA engine (needs gcc)", () => {
  const driver = hasCompiler ? compile("ioat-driver", scratch.path) : "";

  test.each([
    ["type1", "1"],
    ["type1 v2", "3"],
  ])(
    "copies, chains, takes interrupts and recovers from errors over %s, a thread for each of two devices",
    (_name, type) => {
      const run = uvfio("run", "-m", "lab", "--", driver, type, "0000:01:00.0", "0000:02:00.0");
      expect(run.stdout.split("\n").sort()).toEqual(["", "0000:01:00.0: ok", "0000:02:00.0: ok"]);
      expect(run.status).toBe(0);
      const faults = run.stderr.split("\n").filter((line) => line.includes("faults"));
      expect(faults).toContain(
        "uvfio: 0000:01:00.0: DMA read of 0x1000 bytes at iova 0x500100000 faults: nothing is mapped there; the nearest mapping is 0x500000000-0x500000fff",
      );
      expect(faults).toContain(
        "uvfio: 0000:01:00.0: DMA write of 0x1000 bytes at iova 0x500000000 faults: the mapping 0x500000000-0x500000fff is read-only (no VFIO_DMA_MAP_FLAG_WRITE)",
      );
    },
  );
});
