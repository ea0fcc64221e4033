import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, ROOT, scratchFolder, uvfio } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const HOST = join(ROOT, "test/programs/vsva.yaml");

describe.skipIf(!hasCompiler)("a program in C that binds its own page table (needs gcc)", () => {
  const program = hasCompiler ? compile("vsva", scratch.path) : "";

  test.each([
    ["a device", "edu", "3", "0000:03:00.0", /PASID 1: VT-d fault 0x59/],
    [
      "a mediated device with IOMMU backing",
      "mdev",
      "11",
      "11111111-0000-0000-0000-000000000001",
      /gave PASID 2 to no work/,
    ],
    [
      "not on a plain mediated device",
      "refused",
      "20",
      "22222222-0000-0000-0000-000000000001",
      /without IOMMU backing/,
    ],
  ])("on %s", (_name, kind, group, device, reason) => {
    const run = uvfio("run", "-m", HOST, "--", program, kind, group, device);
    expect(run.stdout, run.stderr).toBe(`${kind}: ok\n`);
    expect(run.status).toBe(0);
    expect(run.stderr).toMatch(reason);
  });
});
