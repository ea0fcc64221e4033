import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UVFIO } from "./uvfio.ts";

/** Of the trace; kept as objects it takes five times as much, which is more than V8 is given here. MiB. */
const SIZE = 48;
const HEAP = 64;

const ioctl = (req: string, nr: string, words: string) =>
  `{"op":"ioctl","fd":"container1","req":"${req}","dialect":"type1","nr":"${nr}","arg":"bytes","in":"${words}","out":"${words}","ret":0,"errno":null,"pid":7,"tid":7,"num":3}`;
const word = (value: number) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer).toString("hex");
const half = (value: number) => word(value).slice(0, 8);
const map = `${half(32)}${half(3)}${word(0x10_0000)}${word(0x1000)}${word(0x1000)}`;
const unmap = `${half(24)}${half(0)}${word(0x1000)}${word(0x1000)}`;
const HEAD = [
  '{"op":"host","version":1,"name":"lab","machine":"lab","kernel":"6.12"}',
  '{"op":"open","fd":"container1","path":"/dev/vfio/vfio","flags":"O_RDWR","ret":0,"errno":null,"num":3}',
  '{"op":"open","fd":"group1","path":"/dev/vfio/1","flags":"O_RDWR","ret":0,"errno":null,"num":4}',
  '{"op":"ioctl","fd":"group1","req":"VFIO_GROUP_SET_CONTAINER","nr":"0x3b68","arg":"bytes","in":"00000000","relocs":[{"off":0,"w":4,"fd":"container1"}],"ret":0,"errno":null}',
  '{"op":"ioctl","fd":"container1","req":"VFIO_SET_IOMMU","nr":"0x3b66","arg":"int","val":"0x3","ret":0,"errno":null}',
  '{"op":"mmap","buf":"m1","size":4096,"prot":"rw","kind":"anon","addr":"0x100000","ret":0,"errno":null}',
];
const PAIR = [ioctl("VFIO_IOMMU_MAP_DMA", "0x3b71", map), ioctl("VFIO_IOMMU_UNMAP_DMA", "0x3b72", unmap)];

let folder: string;
let trace: string;
let pairs = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "uvfio-trace-streams-"));
  trace = join(folder, "long.jsonl");
  const fd = openSync(trace, "w");
  writeSync(fd, `${HEAD.join("\n")}\n`);
  const many = Buffer.from(`${PAIR.join("\n")}\n`.repeat(1024));
  for (let length = 0; length < SIZE << 20; length += many.length) {
    writeSync(fd, many);
    pairs += 1024;
  }
  writeSync(fd, '{"op":"end"}\n');
  closeSync(fd);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The command with so little memory that a trace does not fit. */
function uvfio(args: readonly string[], input?: number) {
  const command = [`--max-old-space-size=${HEAP}`, UVFIO, ...args];
  return spawnSync(process.execPath, command, {
    stdio: [input ?? "ignore", "pipe", "pipe"],
    encoding: "utf8",
    maxBuffer: 1 << 30,
    env: { ...process.env, TMPDIR: folder },
  });
}

describe("a trace that is larger than memory", () => {
  it("is summed up", () => {
    const { stdout, stderr, status } = uvfio(["trace", "--summary", "--json", trace]);
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
    const calls = Object.fromEntries(
      JSON.parse(stdout).map((row: { name: string; calls: number }) => [row.name, row.calls]),
    );
    expect(calls).toMatchObject({ VFIO_IOMMU_MAP_DMA: pairs, VFIO_IOMMU_UNMAP_DMA: pairs });
  });

  it("is printed, from a pipe too, of which nothing is left", () => {
    const cat = spawnSync(
      "sh",
      ["-c", `cat "$1" | "$2" --max-old-space-size=${HEAP} "$3" trace - | wc -l`, "sh", trace, process.execPath, UVFIO],
      {
        encoding: "utf8",
        env: { ...process.env, TMPDIR: folder },
      },
    );
    expect({ lines: Number(cat.stdout), stderr: cat.stderr }).toEqual({ lines: 2 * pairs + 4, stderr: "" });
    expect(readdirSync(folder)).toEqual(["long.jsonl"]);
  });

  it("is replayed", () => {
    const { stdout, stderr, status } = uvfio(["replay", trace]);
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
    expect(stdout).toContain(`${2 * pairs + 5} equal, 0 different`);
  });

  it("becomes a file for Perfetto", () => {
    const { stderr, status } = uvfio(["trace", "--perfetto", "/dev/null", trace]);
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  });
});

describe("a pipe that has no recording in it", () => {
  it("is given up at its first line, although it has no end", () => {
    const yes = spawnSync("sh", ["-c", 'yes | "$1" "$2" trace -', "sh", process.execPath, UVFIO], {
      encoding: "utf8",
    });
    expect(yes).toMatchObject({
      status: 2,
      stdout: "",
      stderr: "uvfio: stdin:1: not a line of JSON; the file is cut off or no recording\n",
    });
  });

  it("is given up where a line has no end", () => {
    const fifo = join(folder, "host.jsonl");
    writeFileSync(fifo, HEAD[0]!);
    const zeros = spawnSync(
      "sh",
      ["-c", '(cat "$3"; echo; cat /dev/zero) | "$1" "$2" trace -', "sh", process.execPath, UVFIO, fifo],
      { encoding: "utf8" },
    );
    expect(zeros).toMatchObject({ status: 2, stdout: "" });
    expect(zeros.stderr).toBe("uvfio: stdin: a line has more than 16777216 bytes; this is no recording\n");
    rmSync(fifo);
  });

  it("says where there is no room to keep it", () => {
    const none = spawnSync(process.execPath, [UVFIO, "trace", "-"], {
      input: `${HEAD.join("\n")}\n`,
      encoding: "utf8",
      env: { ...process.env, TMPDIR: join(folder, "not-there") },
    });
    expect(none).toMatchObject({
      status: 2,
      stderr:
        "uvfio: stdin: no room to keep it while it is read (ENOENT in the folder of temporary files); give it as a file, or set TMPDIR\n",
    });
  });
});
