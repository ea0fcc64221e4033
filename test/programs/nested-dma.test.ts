import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, scratchFolder, uvfio } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

describe.skipIf(!hasCompiler)("a virtual IOMMU in C over iommufd (needs gcc)", () => {
  const program = hasCompiler ? compile("nested-dma", scratch.path) : "";

  test("nests page tables, invalidates, answers page requests and attaches with a PASID", () => {
    const run = uvfio("run", "-m", "lab-nesting", "--", program, "edu", "0");
    expect(run.stdout, run.stderr).toBe("nested: ok\npage requests: ok\nPASIDs: ok\n");
    expect(run.status).toBe(0);
    expect(run.stderr).toMatch(/without PASID: VT-d fault 0x71: .*; the page that it asked for was refused/);
    expect(run.stderr).toMatch(/PASID 86: VT-d fault 0x59/);
  });

  test("lets a DMA engine work through a nested page table", () => {
    const run = uvfio("run", "-m", "lab-nesting", "--", program, "ioat", "2");
    expect(run.stdout, run.stderr).toBe("DMA engine: ok\n");
    expect(run.status).toBe(0);
  });

  test("gives the sanitizer no reason to complain of guests' addresses", () => {
    const run = uvfio("run", "-q", "-m", "lab-nesting", "--sanitize", "--", program, "edu", "0");
    expect(run.status, run.stderr).toBe(0);
    expect(run.stderr).toMatch(/1 finding in \d+ calls: mapping left behind \(1\)/);
  });

  test("is traced, and replays the same", () => {
    const trace = join(scratch.path, "trace.jsonl");
    const run = uvfio("run", "-q", "-m", "lab-nesting", "--trace", trace, "--", program, "edu", "0");
    expect(run.status, run.stderr).toBe(0);
    const again = uvfio("replay", "-m", "lab-nesting", trace);
    expect(again.stdout).toMatch(/(\d+) calls, \1 equal/);
    const listed = uvfio("trace", "--request", "FAULT_QUEUE", trace).stdout;
    expect(listed).toMatch(/IOMMU_FAULT_QUEUE_ALLOC, .*= \d+/);
    const fd = /(\d+)<fault queue>|= (\d+)/
      .exec(listed)!
      .slice(1)
      .find((text) => text !== undefined)!;
    expect(uvfio("trace", "--fd", fd, trace).stdout).toMatch(/pread\(\d+<fault queue>/);
    expect(again.status).toBe(0);
  });
});
