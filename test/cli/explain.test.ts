import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { tableModule } from "../../scripts/errors/index.mjs";
import { finished, ROOT, scratchFolder, UVFIO, uvfio } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const file = (name: string, content: string | Uint8Array) => {
  const path = join(scratch.path, name);
  writeFileSync(path, content);
  return path;
};

test("the table of errors is that of docs/errors.md (npm run docs:errors)", () => {
  const page = readFileSync(join(ROOT, "docs/errors.md"), "utf8");
  expect(readFileSync(join(ROOT, "src/inspect/explain/known-errors.ts"), "utf8")).toBe(tableModule(page));
});

describe("uvfio explain REQUEST", () => {
  test.each([
    ["VFIO_IOMMU_MAP_DMA", "EINVAL"],
    ["map_dma", "-22"],
    ["Map-DMA", "22"],
    ["0x3b71", "Invalid argument"],
  ])("takes %s %s", (request, errno) => {
    const { status, stdout, stderr } = uvfio("explain", request, errno);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^VFIO_IOMMU_MAP_DMA = EINVAL \(22\)\n {2}the host and its settings\n/);
    expect(stdout).toMatch(
      /overlaps the reserved range.*\n.*to tell: cat \/sys\/kernel\/iommu_groups.*\n.*cure: choose another IOVA/,
    );
    expect(stdout).not.toContain("step allocate");
  });

  test("without an errno has all of them, and with a host what the host has", () => {
    const { stdout } = uvfio("explain", "SET_IOMMU", "-m", "amd");
    expect(stdout).toMatch(/^VFIO_SET_IOMMU = EPERM \(1\)$/m);
    expect(stdout).toMatch(/^VFIO_SET_IOMMU = ENODEV \(19\)$/m);
    expect(stdout).toContain("host: interrupts are remapped; vfio_iommu_type1.allow_unsafe_interrupts is 0");
    expect(stdout).not.toContain("[spapr]");
  });

  test.each([
    [["MAP_DMAA", "EINVAL"], '"MAP_DMAA" is neither a request nor a file (did you mean VFIO_IOMMU_MAP_DMA?)'],
    [["MAP_DMA", "EINVALL"], '"EINVALL" is no errno (did you mean EINVAL?)'],
    [["MAP_DMA", "EXDEV"], "VFIO_IOMMU_MAP_DMA is not known to fail with EXDEV: it fails with "],
    [["/no/such.log"], "/no/such.log cannot be read (ENOENT)"],
  ])("%j is said in one line", (args, message) => {
    const run = uvfio("explain", ...args);
    expect(run).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining(message) });
    expect(run.stderr).toMatch(/^uvfio: .*\n$/);
  });

  test("is JSON for programs", () => {
    const [first] = JSON.parse(uvfio("explain", "MAP_DMA", "ENOSPC", "--json").stdout);
    expect(first).toMatchObject({ request: "VFIO_IOMMU_MAP_DMA", errno: "ENOSPC", number: 28 });
    expect(first.reasons[0]).toMatchObject({ about: "host", recorded: true });
  });
});

describe("uvfio explain FILE", () => {
  const log = "kvm: vfio_dma_map(0x5e, 0xfee00000, 0x1000, 0x77) = -22 (Invalid argument)\n";

  test("explains a log, from a file and from stdin, in the terms of a host", () => {
    const { status, stdout, stderr } = uvfio("explain", file("qemu.log", log), "-m", "amd");
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(
      /^line 1: kvm: vfio_dma_map.*\n.*\n {2}because iova 0xfee00000-0xfee00fff overlaps the reserved range/,
    );
    const piped = finished(process.execPath, [UVFIO, "explain", "-"], { input: log });
    expect(piped).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("where x86 machines write interrupts to"),
    });
  });

  test("has exit status 1 when no line is known", () => {
    const run = uvfio("explain", file("other.log", "all is well\n"));
    expect(run).toMatchObject({ status: 1, stdout: expect.stringMatching(/^1 lines, none of which/), stderr: "" });
  });

  test("escapes what a terminal would obey", () => {
    const { stdout } = uvfio("explain", file("esc.log", "\x1b[31mvfio: Unable to power on device, stuck in D3\x07\n"));
    expect(stdout).toContain("\\x1b[31mvfio");
    expect(stdout).not.toContain("\x1b");
  });

  test.each([
    ["a compressed log", gzipSync(log), /is compressed \(gzip\) and no text: zcat FILE \| uvfio explain -/],
    ["a program", readFileSync(process.execPath).subarray(0, 4096), /is a program \(ELF\)/],
  ])("refuses %s, and says how", (_what, content, message) => {
    const run = uvfio("explain", file("refused.log", content));
    expect([run.status, run.stdout]).toEqual([2, ""]);
    expect(run.stderr).toMatch(message);
  });

  test("is bounded: one line of 50 MB, and lines of nothing but zeros", () => {
    const long = file("long.log", `${"vfio failed ".repeat(4_200_000)}\n${log}`);
    const { status, stdout } = uvfio("explain", long);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^line 2: kvm/);
    expect(stdout.length).toBeLessThan(4000);
    expect(
      uvfio("explain", file("zeros.log", Buffer.concat([Buffer.alloc(1 << 20), Buffer.from(`\n${log}`)]))).status,
    ).toBe(0);
  });

  test("gives up a FIFO that nobody writes to", () => {
    const fifo = join(scratch.path, "fifo");
    spawnSync("mkfifo", [fifo]);
    const run = uvfio("explain", fifo);
    expect(run).toMatchObject({ status: 2, stderr: expect.stringContaining("is a FIFO that nobody writes to") });
  });
});
