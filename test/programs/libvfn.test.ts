import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { finished, scratchFolder, uvfio } from "../cli/uvfio.ts";

/** A tree of libvfn's sources, which no package of Debian's has. */
const TREE = process.env.UVFIO_LIBVFN;
const NVME = "0000:05:00.0";
if (!TREE) console.log("libvfn: skipped, UVFIO_LIBVFN names no tree of its sources");

const scratch = scratchFolder();
afterAll(() => scratch.remove());

describe.skipIf(!TREE)("libvfn's own examples on the NVMe disk (needs meson, libnvme-dev and its sources)", () => {
  const build = join(scratch.path, "build");
  const example = (name: string, ...args: string[]) =>
    uvfio(
      "run",
      "-m",
      "lab",
      "--",
      "env",
      "VFN_IOMMU_FORCE_VFIO=1",
      join(build, "examples", name),
      "-d",
      NVME,
      ...args,
    );

  test("are built", { timeout: 300_000 }, () => {
    const setup = finished("meson", ["setup", build, TREE!, "-Ddocs=disabled", "-Dlibnvme=enabled"]);
    expect(setup.stdout + setup.stderr).toContain("Found ninja");
    expect(finished("ninja", ["-C", build], { timeout: 280_000 }).status).toBe(0);
  });

  test.each([
    ["identify", [], /^vid 0x1b36$/m],
    ["io", ["-N", "1", "-w", "-z", "4096"], /reading payload\nread 0 bytes\n/],
    ["eventfd", ["-N", "1"], /wrote 4096 bytes\n/],
    ["perf", ["-N", "1", "-t", "2", "-q", "32"], /^ +[1-9]\d*\.\d+ /m],
  ])("%s", (name, args, shown) => {
    const run = example(name, ...args);
    expect(run.stdout + run.stderr).toMatch(shown);
    expect(run.status).toBe(0);
  });
});
