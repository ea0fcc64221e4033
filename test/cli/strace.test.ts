import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compile, finished, hasCompiler, scratchFolder, UVFIO, uvfio } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

describe.skipIf(!hasCompiler)("uvfio run --strace", () => {
  const program = hasCompiler ? compile("iova-ranges", scratch.path) : "";

  test("prints each call with its reason, once", () => {
    const { stderr, status } = uvfio("run", "--strace", "--", program, "0000:00:1b.0");
    expect(status).toBe(0);
    expect(stderr).toMatch(/^open\("\/dev\/vfio\/vfio", O_RDWR\) = \d+<\/dev\/vfio\/vfio> <\d\.\d{6}>$/m);
    expect(stderr).toMatch(
      /VFIO_IOMMU_MAP_DMA, \{argsz=32, flags=READ\|WRITE, vaddr=0x[0-9a-f]{6,}, iova=0xfee00000, size=0x1000\}\) = -1 EINVAL \(iova 0xfee00000-0xfee00fff overlaps/,
    );
    expect(stderr.match(/overlaps the reserved range/g)).toHaveLength(1);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(/^close\(/);
  });

  test("with -t and -o: time stamps, in a file; what fails is said on stderr as ever", () => {
    const file = join(scratch.path, "calls.txt");
    const { stderr } = uvfio("run", "--strace", "-t", "-o", file, "--", program, "0000:00:1b.0");
    const lines = readFileSync(file, "utf8").trimEnd().split("\n");
    const stamps = lines.map((line) => /^(\d\d:\d\d:\d\d\.\d{6}) /.exec(line)?.[1]);
    expect(stamps).not.toContain(undefined);
    expect(stderr).toMatch(/^uvfio: iova-ranges\[\d+\]: VFIO_IOMMU_MAP_DMA = EINVAL/);
  });

  test.each([
    [["-t"], /-t is about --strace/],
    [["-o", "x"], /--output is about --strace/],
    [["--json-fd", "77"], /--json-fd 77: that is no open descriptor/],
    [["--json=/", "--json-fd", "1"], /messages go to one place/],
    [["--view=port"], /--view=port: give a port, 0 to 65535/],
    [["--view", "--fault-each", "VFIO_IOMMU_MAP_DMA"], /leave out --view/],
  ])("%j is refused in a line", (options, message) => {
    const { status, stderr } = uvfio("run", ...options, "--", "true");
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });
});

describe.skipIf(!hasCompiler)("messages as JSON", () => {
  const misuse = hasCompiler ? compile("misuse", scratch.path) : "";
  const records = (text: string) =>
    text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));

  test("have DMA that did not arrive and findings in their parts, in a file of their own", () => {
    const file = join(scratch.path, "m.jsonl");
    const { stderr } = uvfio(
      "run",
      "-m",
      "lab",
      "--sanitize",
      `--json=${file}`,
      "--",
      misuse,
      "after-unmap",
      "0000:03:00.0",
    );
    expect(stderr).toBe("");
    const all = records(readFileSync(file, "utf8"));
    expect(all).toContainEqual(
      expect.objectContaining({ finding: "DMA after unmap", message: expect.stringMatching(/^sanitizer: DMA after/) }),
    );
    expect(all).toContainEqual({
      dma_fault: {
        device: "0000:03:00.0",
        write: false,
        iova: "0x10000",
        length: 64,
        at: "0x10000",
        reason: expect.stringMatching(/nothing is mapped there/),
      },
    });
  });

  test("go to a descriptor, which the program does not get", () => {
    const file = join(scratch.path, "fd.jsonl");
    const command = `${process.execPath} ${UVFIO} run -m lab --json-fd 5 -- sh -c 'readlink /proc/self/fd/5; ${misuse} never 0000:03:00.0' 5>${file}`;
    const { stdout } = finished("sh", ["-c", command]);
    expect(stdout).toBe("");
    expect(records(readFileSync(file, "utf8")).some(({ dma_fault }) => dma_fault?.at === "0x200000")).toBe(true);
  });
});

describe.skipIf(!hasCompiler)("uvfio trace --perfetto", () => {
  const misuse = hasCompiler ? compile("misuse", scratch.path) : "";

  test("has threads, calls with reasons, DMA and what is mapped, in the Trace Event Format", () => {
    const [trace, file] = [join(scratch.path, "t.jsonl"), join(scratch.path, "t.json")];
    uvfio("run", "-q", "-m", "lab", "--trace", trace, "--", misuse, "after-unmap", "0000:03:00.0");
    expect(uvfio("trace", "--perfetto", file, trace)).toMatchObject({ status: 0, stderr: "" });
    const { traceEvents: events } = JSON.parse(readFileSync(file, "utf8"));
    const named = (ph: string, name: RegExp) =>
      events.filter((event: { ph: string; name: string }) => event.ph === ph && name.test(event.name));
    expect(named("M", /^process_name$/).map(({ args }: { args: { name: string } }) => args.name)).toEqual(
      expect.arrayContaining(["misuse", "host lab"]),
    );
    const [map] = named("X", /^VFIO_IOMMU_MAP_DMA$/);
    expect(map).toMatchObject({ cat: "call", args: { iova: "0x10000-0x10fff", result: 0 } });
    expect(map.dur).toBeGreaterThanOrEqual(0);
    expect(named("X", /^DMA read fault$/)[0].args.reason).toMatch(/nothing is mapped there/);
    expect(named("C", /^mapped in type1 container/).map(({ args }: { args: { bytes: number } }) => args.bytes)).toEqual(
      expect.arrayContaining([0, 4096]),
    );
    // slices of a thread follow each other
    const times = named("X", /^(VFIO|open|pread|pwrite|close)/).map(({ ts }: { ts: number }) => ts);
    expect(times).toEqual([...times].sort((a, b) => a - b));
  });

  test("takes all of a trace, and no filter", () => {
    const { status, stderr } = uvfio("trace", "--perfetto", "x.json", "--failed", "t.jsonl");
    expect([status, stderr]).toEqual([2, "uvfio: --perfetto has all of the trace; leave out --failed\n"]);
  });
});

describe("the address space as text and SVG", () => {
  test("uvfio iova-list --map draws it in 80 columns", () => {
    const { stdout, status } = uvfio("iova-list", "--map", "-m", "amd", "0000:01:00.0");
    expect(status).toBe(0);
    const map = stdout.slice(stdout.indexOf("host amd"));
    expect(map).toMatch(/^ {2}-+#+ msi #+-+#+ reserved #+-+$/m);
    expect(map).toMatch(/bc # 0xfee00000 - 0xfeefffff {2}1 MiB {2}msi, 0000:01:00.0 \(group 13\)/);
    for (const line of map.split("\n").slice(0, 3)) expect(line.length).toBeLessThanOrEqual(80);
  });

  test("uvfio fit --map shows a guest in it, and --svg draws the same", () => {
    const file = join(scratch.path, "fit.svg");
    const options = ["fit", "-m", "amd", "--memory", "1011G", "--vmm", "pc-q35-7.0"];
    const { stdout, status } = uvfio(...options, "--map", "--svg", file);
    expect(status).toBe(1);
    expect(stdout).toMatch(/X 0xfd00000000 - 0xfd3fffffff {2}1 GiB/);
    const svg = readFileSync(file, "utf8");
    expect(svg).toMatch(/^<svg /);
    expect(svg.match(/class="collision"/g)).toHaveLength(1);
    expect(uvfio("fit", "-m", "amd", "-m", "intel", "--memory", "1G", "--svg", file).stderr).toMatch(
      /--svg draws one host/,
    );
  });
});
