import { afterAll, describe, expect, test } from "vitest";
import type { ProgramResult } from "../../src/inspect/selftests/test-results.ts";
import { compile, hasCompiler, scratchFolder, uvfio } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const tree = process.env.UVFIO_KERNEL_TREE;

describe.skipIf(tree === undefined || !hasCompiler)(
  "iommufd's selftests (UVFIO_KERNEL_TREE: a kernel's source, 7.2 or newer)",
  () => {
    test("pass, or are skipped for want of huge pages, CAP_SYS_RESOURCE or a virtual IOMMU", {
      timeout: 600_000,
    }, () => {
      const run = uvfio("selftests", tree!, "-m", "mock", "--json");
      const programs = JSON.parse(run.stdout) as readonly ProgramResult[];
      const all = programs.flatMap(({ results }) => results);
      expect(all.filter(({ outcome }) => outcome === "fail")).toEqual([]);
      const reasons = new Set(all.flatMap(({ outcome, detail }) => (outcome === "skip" ? [detail] : [])));
      for (const reason of reasons) expect(reason).toMatch(/^wants (?:huge pages|CAP_SYS_RESOURCE)|variant no_viommu$/);
      expect(all.length).toBeGreaterThanOrEqual(246 + 8);
      expect(all.filter(({ outcome }) => outcome === "pass").length).toBeGreaterThanOrEqual(200);
      expect(run.status).toBe(0);
    });
  },
);

describe.skipIf(!hasCompiler)("the host mock under uvfio run (needs gcc and linux-libc-dev)", () => {
  test("a program sees what is pinned, injects a fault, and reaches what its child has left", () => {
    const program = compile("iommufd-mock", scratch.path);
    const { stdout, status } = uvfio("run", "-m", "mock", "-q", "--", program);
    expect(stdout.split("\n")).toEqual([
      "VmPin 8 kB",
      "VmPin of the parent 8 kB",
      "fail-nth 0",
      "third allocation: 0 0 Cannot allocate memory",
      "fail-nth 0",
      "read through the child's mapping: left behind",
      "mapped: 0xbeef, destroy: Device or resource busy",
      "unmapped, destroy: 0",
      "",
    ]);
    expect(status).toBe(0);
  });
});
