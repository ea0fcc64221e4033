import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { hasWatchedRegisters } from "../programs/watched-registers.ts";
import { compile, hasCompiler, scratchFolder, uvfio } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const at = (name: string) => join(scratch.path, name);

describe.skipIf(!hasCompiler)("uvfio run of compiled programs (needs gcc and linux-libc-dev)", () => {
  const ranges = hasCompiler ? compile("iova-ranges", scratch.path) : "";
  const misuse = hasCompiler ? compile("misuse", scratch.path) : "";

  describe("--trace", () => {
    const file = at("ranges.jsonl");
    test("records calls that print as strace would and replay with equal answers, on the host that the trace names", () => {
      const run = uvfio("run", "--kernel", "6.6", "--trace", file, "--", ranges);
      expect(run.status).toBe(0);
      const { stdout, stderr, status } = uvfio("trace", file);
      expect([status, stderr]).toEqual([0, ""]);
      expect(stdout).toMatch(/^open\("\/dev\/vfio\/vfio", O_RDWR\) = \d+<\/dev\/vfio\/vfio> <\d\.\d{6}>$/m);
      expect(stdout).toMatch(/VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU\) = 0/);
      expect(stdout).toContain("IOVA_RANGE {ranges=[0x0-0xfedfffff, 0xfef00000-0x1ffffffffffffff]}");
      expect(stdout).toMatch(
        /vaddr=m1, iova=0xfee00000, size=0x1000}\) = -1 EINVAL \(iova 0xfee00000-0xfee00fff overlaps/,
      );
      const again = uvfio("replay", file);
      expect(again.stdout).toMatch(/^1 recording: (\d+) calls, \1 equal, 0 different$/m);
      expect(again.status).toBe(0);
      // another release has other capabilities
      expect(uvfio("replay", "--kernel", "5.4", file).status).toBe(1);
    });

    test("filters, sums up and gives JSON", () => {
      expect(uvfio("trace", "--failed", file).stdout.trimEnd().split("\n")).toHaveLength(1);
      expect(uvfio("trace", "--request", "map_dma", "--fd", "3", file).stdout.trimEnd().split("\n")).toHaveLength(2);
      expect(uvfio("trace", "--summary", file).stdout).toMatch(/^VFIO_IOMMU_MAP_DMA +2 +1 +0\.\d+ +\d+$/m);
      const [line] = uvfio("trace", "--failed", "--json", file).stdout.split("\n");
      expect(JSON.parse(line!)).toMatchObject({
        req: "VFIO_IOMMU_MAP_DMA",
        errno: "EINVAL",
        fields: { iova: "0xfee00000" },
      });
    });

    test.each([
      ["cut off in a line", (text: string) => text.slice(0, -40), /:\d+: not a line of JSON; the file is cut off/],
      [
        "cut off between lines",
        (text: string) => text.replace('{"op":"end"}\n', ""),
        /:\d+: the end of the trace is missing/,
      ],
      ["of something else", () => '{"hello":1}\n', /:1: no "op" field/],
    ])("of a file %s is refused by trace and replay in one line with exit status 2", (_what, spoil, message) => {
      const bad = at("bad.jsonl");
      writeFileSync(bad, spoil(readFileSync(file, "utf8")));
      for (const command of [
        ["trace", bad],
        ["replay", "-m", "intel", bad],
      ]) {
        if (command[0] === "replay" && message.source.includes("end of the trace")) command.splice(1, 2);
        const { status, stderr } = uvfio(...command);
        expect(stderr).toMatch(message);
        expect(stderr.trimEnd().split("\n")).toHaveLength(1);
        expect(status).toBe(2);
      }
    });

    test("of a driver with mapped registers replays: reset, copies, interrupts, DMA faults", () => {
      const driver = compile("ioat-driver", scratch.path);
      const trace = at("ioat.jsonl");
      // where doorbells are not exact both threads only look, and leave uvfio little time
      const devices = hasWatchedRegisters(scratch.path) ? ["0000:01:00.0", "0000:02:00.0"] : ["0000:01:00.0"];
      const run = uvfio("run", "-q", "-m", "lab", "--trace", trace, "--", driver, "3", ...devices);
      expect([run.status, run.stderr]).toEqual([0, ""]);
      const { stdout } = uvfio("trace", trace);
      expect(stdout).toMatch(
        /VFIO_DEVICE_SET_IRQS, \{argsz=24, flags=DATA_EVENTFD\|ACTION_TRIGGER, index=MSIX_IRQ_INDEX, start=0, count=1, fds=\[event1\]\}\) = 0/,
      );
      expect(stdout).toContain("bar1[0x84] <- 0x20 (1 byte)\n");
      expect(stdout).toMatch(/^-- 0000:01:00\.0: DMA read of 0x1000 bytes at iova 0x500100000 faults/m);
      const again = uvfio("replay", trace);
      expect(again.stdout).toMatch(/^1 recording: (\d+) calls, \1 equal, 0 different$/m);
      expect(readFileSync(trace, "utf8")).toContain('"op":"dump"');
    });
  });

  describe("failed calls", () => {
    test("are left out with --quiet and are JSON with --json", () => {
      expect(uvfio("run", "--quiet", "--", ranges).stderr).toBe("");
      const { stderr } = uvfio("run", "--json", "--", ranges);
      expect(JSON.parse(stderr)).toMatchObject({ program: "iova-ranges", call: "VFIO_IOMMU_MAP_DMA", errno: "EINVAL" });
    });
  });

  describe("--fault", () => {
    test("fails the call that it names and says so", () => {
      const run = uvfio("run", "--fault", "VFIO_IOMMU_MAP_DMA#1=ENOMEM", "--", ranges);
      expect(run.stdout).toContain("map iova 0x10000: Cannot allocate memory");
      expect(run.stderr).toContain("= ENOMEM: injected by --fault VFIO_IOMMU_MAP_DMA#1=ENOMEM (call 1)");
    });

    test("makes DMA of a device fault", () => {
      const run = uvfio("run", "-m", "lab", "--fault", "dma:0000:03:00.0=fault", "--", misuse, "clean", "0000:03:00.0");
      expect(run.stderr).toMatch(
        /0000:03:00\.0: DMA read of 0x40 bytes at iova 0x10000 faults: injected by --fault dma:/,
      );
    });

    test("names a fault that failed nothing", () => {
      const { stderr } = uvfio("run", "-q", "--fault", "VFIO_IOMMU_MAP_DMA#9=ENOMEM", "--", ranges);
      expect(stderr).toBe(
        "uvfio: --fault VFIO_IOMMU_MAP_DMA#9=ENOMEM failed nothing: 2 calls or accesses matched it\n",
      );
    });

    test("that makes no sense is refused in one line before anything runs", () => {
      const { status, stdout, stderr } = uvfio("run", "--fault", "MAP_DMA=ENOMEM", "--", "echo", "ran");
      expect(stderr).toMatch(
        /^uvfio: --fault "MAP_DMA=ENOMEM": "MAP_DMA" is no request, .*; perhaps VFIO_IOMMU_MAP_DMA or .*\n$/,
      );
      expect([status, stdout]).toEqual([2, ""]);
    });
  });

  describe("--fault-each", () => {
    test("fails one call after the other and reports how each run ended", () => {
      const { status, stderr } = uvfio("run", "-q", "--fault-each", "VFIO_IOMMU_MAP_DMA=ENOMEM", "--", ranges);
      expect(stderr.trimEnd().split("\n")).toEqual([
        "uvfio: VFIO_IOMMU_MAP_DMA #1 = ENOMEM: exit status 1, no mapping left",
        "uvfio: VFIO_IOMMU_MAP_DMA #2 = ENOMEM: exit status 1, 1 mapping left",
        "uvfio: VFIO_IOMMU_MAP_DMA no fault: exit status 0, 1 mapping left",
        "uvfio: 2 faults of VFIO_IOMMU_MAP_DMA: 0 killed the program, 0 left more mapped than the run without a fault, 0 ended with exit status 0",
      ]);
      expect(status).toBe(0);
    });

    test("exits with 1 when a run leaves more mapped than the one without a fault", () => {
      const run = uvfio(
        "run",
        "-q",
        "-m",
        "lab",
        "--fault-each",
        "VFIO_IOMMU_UNMAP_DMA=EINVAL",
        "--",
        misuse,
        "clean",
        "0000:03:00.0",
      );
      expect(run.stderr).toContain("VFIO_IOMMU_UNMAP_DMA #1 = EINVAL: exit status 1, 1 mapping left");
      expect(run.status).toBe(1);
    });
  });

  describe("--sanitize", () => {
    const sanitized = (mistake: string, option = "--sanitize") =>
      uvfio("run", "-q", "-m", "lab", option, "--", misuse, mistake, "0000:03:00.0");

    test("says in one line that there is nothing", () => {
      const { status, stderr } = sanitized("clean", "--sanitize=error");
      expect(stderr).toMatch(/^uvfio: sanitizer: no findings in \d+ calls\n$/);
      expect(status).toBe(0);
    });

    test.each([
      [
        "munmap",
        /memory unmapped while mapped for DMA: .* iova 0x10000-0x10fff maps it, made by call \d+ .*MAP_DMA.* noticed at call/,
      ],
      [
        "munmap-unmap",
        /memory unmapped while mapped for DMA: .* noticed at call \d+ of misuse\[\d+\] \(VFIO_IOMMU_UNMAP_DMA/,
      ],
      [
        "after-unmap",
        /DMA after unmap: 0000:03:00.0 reads 64 bytes at iova 0x10000, started by call .*pwrite.* mapped by call .*MAP_DMA.* went with call .*UNMAP_DMA/,
      ],
      [
        "read-only",
        /DMA against the mapping's permission: 0000:03:00.0 writes 64 bytes .* is mapped read-only, by call/,
      ],
      ["never", /DMA to an IOVA never mapped: 0000:03:00.0 reads 64 bytes at iova 0x200000/],
      ["left", /mapping left behind: iova 0x10000-0x10fff was still mapped at .*; it was mapped by call/],
      ["reset", /device reset or closed while DMA may be running: device 0000:03:00.0 is reset after call/],
      ["close", /device reset or closed while DMA may be running: device 0000:03:00.0 is closed after call/],
    ])("finds %s, once, and =error makes the exit status 1", (mistake, finding) => {
      const { status, stderr } = sanitized(mistake, "--sanitize=error");
      const lines = stderr
        .trimEnd()
        .split("\n")
        .filter((line) => line.startsWith("uvfio: sanitizer:"));
      expect(lines[0]).toMatch(finding);
      expect(lines).toHaveLength(2);
      expect(lines[1]).toMatch(/^uvfio: sanitizer: 1 finding in \d+ calls: /);
      expect(status).toBe(1);
    });

    test("alone leaves the exit status to the program", () => {
      expect(sanitized("left").status).toBe(0);
    });
  });
});
