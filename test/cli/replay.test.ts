import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { unpackBundle } from "../recordings/bundle.ts";
import { finished, scratchFolder, uvfio } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const machine = join(scratch.path, "intel39");
mkdirSync(machine);
const { host, scenarios } = unpackBundle("intel39");
writeFileSync(join(machine, "host.json"), host);
const chosen = ["gi_each_group", "map_overlap_v2", "unmap_partial_v1"];
for (const name of chosen) writeFileSync(join(machine, `${name}.jsonl`), scenarios[name]!);

function write(name: string, text: string): string {
  const file = join(scratch.path, name);
  writeFileSync(file, text);
  return file;
}

describe("uvfio replay", () => {
  test("repeats the recordings of a folder and counts equal answers", () => {
    const { status, stdout, stderr } = uvfio("replay", machine);
    expect(stderr).toBe("");
    for (const name of chosen)
      expect(stdout).toMatch(new RegExp(`${name}\\.jsonl +\\d+ calls, \\d+ equal, 0 different\n`));
    expect(stdout).toMatch(/^3 recordings: \d+ calls, \d+ equal, 0 different$/m);
    expect(status).toBe(0);
  });

  test("shows the first difference with both sides and why, and exits with 1", () => {
    const lines = scenarios.map_overlap_v2!.split("\n");
    const index = lines.findIndex((line) => line.includes("EEXIST"));
    lines[index] = lines[index]!.replace("EEXIST", "EINVAL");
    const file = join(machine, "tampered.jsonl");
    writeFileSync(file, lines.join("\n"));
    const { status, stdout } = uvfio("replay", file);
    expect(stdout).toContain("1 different");
    expect(stdout).toContain(`line ${index + 1}: ioctl VFIO_IOMMU_MAP_DMA: result`);
    expect(stdout).toContain("recorded -1 EINVAL");
    expect(stdout).toContain("ours     -1 EEXIST");
    expect(stdout).toMatch(/because {2}iova 0x[0-9a-f]+-0x[0-9a-f]+ overlaps the mapping/);
    expect(status).toBe(1);
  });

  test("takes another host than the recording's", () => {
    const { status, stdout } = uvfio("replay", "-m", "amd", join(machine, "gi_each_group.jsonl"));
    expect(stdout).toContain("different");
    expect(status).toBe(1);
  });

  test("reports as JSON", () => {
    const { stdout } = uvfio("replay", "--json", join(machine, "gi_each_group.jsonl"));
    const [report] = JSON.parse(stdout) as { calls: number; equal: number; different: unknown[] }[];
    expect(report!.equal).toBe(report!.calls);
    expect(report!.different).toEqual([]);
  });

  test.each([
    [
      "a line of 50 MB",
      () => write("long.jsonl", `{"op":"${"x".repeat(50_000_000)}"}\n`),
      /:1: the line has more than \d+ bytes/,
    ],
    ["an endless file", () => "/dev/zero", /\/dev\/zero: this is no regular file/],
    [
      "a FIFO that nobody writes to",
      () => {
        finished("mkfifo", [join(scratch.path, "fifo")]);
        return join(scratch.path, "fifo");
      },
      /fifo: this is no regular file/,
    ],
    [
      "control characters",
      () => write("control.jsonl", '{"op":"\\u001b[2J\\u009b31m"}\n'),
      /:1: unknown operation "\\x1b\[2J\\x9b31m"/,
    ],
    [
      "a trace whose host is damaged",
      () => write("host.jsonl", '{"op":"host","version":1,"name":"x","machine":"l\\u001bab"}\n{"op":"end"}\n'),
      /host\.jsonl:1: the host that the trace names: .*; give one with -m/,
    ],
  ])("refuses %s in one line, with exit status 2, and trace as well where it reads it", (what, make, message) => {
    const file = make();
    const commands = [
      ["replay", ...(what.includes("host") ? [] : ["-m", "intel"])],
      ...(what.includes("host") ? [] : [["trace"]]),
    ];
    for (const command of commands) {
      const { status, stderr } = uvfio(...command, file);
      expect(stderr).toMatch(message);
      expect(stderr.trim()).toMatch(/^[^\p{Cc}]{1,1500}$/u);
      expect(status).toBe(2);
    }
  });

  test.each([
    ["cut off in a line", '{"op":"open","fd":"c","path":"/dev/vf', /:1: not a line of JSON; the file is cut off/],
    ["of something else", '{"hello":1}\n', /:1: no "op" field/],
    ["with an unknown operation", '{"op":"dance"}\n', /:1: unknown operation "dance"/],
  ])("refuses a recording %s in one line", (_what, text, message) => {
    const file = join(machine, "bad.jsonl");
    writeFileSync(file, text);
    const { status, stderr } = uvfio("replay", file);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(status).toBe(2);
  });
});
