import { afterAll, describe, expect, test } from "vitest";
import { amount } from "../amount.ts";
import { compile, hasCompiler, scratchFolder, uvfio } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const STEPS = amount("UVFIO_EARLY_STEPS", 20_000, 100_000);

describe.skipIf(!hasCompiler)("calls that are looked ahead for (needs gcc)", () => {
  const client = hasCompiler ? compile("early-looks", scratch.path) : "";

  test("are not looked at where uvfio would have to wait for itself", () => {
    const served = compile("early-served", scratch.path);
    const { stdout, stderr, status } = uvfio("run", "--", served, "0000:00:1b.0");
    expect(stderr).toBe("");
    // its vendor and device, 8086:8ca0, are what is read as the size of the structure
    expect(stdout).toBe(`done, argsz ${0x8ca08086}\n`);
    expect(status).toBe(0);
  });

  test.each([1, 2, 3])(
    "see what is there when they are made, whatever has changed since the last (seed %i)",
    (seed) => {
      const { stdout, stderr, status } = uvfio("run", "-q", "--", client, "0000:00:1b.0", String(STEPS), String(seed));
      expect(stderr).toBe("");
      expect(stdout).toBe(`${STEPS} steps\n`);
      expect(status).toBe(0);
    },
    120_000,
  );
});
