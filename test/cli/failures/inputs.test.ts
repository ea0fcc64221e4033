import { spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { scratchFolder } from "../uvfio.ts";
import { expectClearLines, forEach, inShell, PATIENCE } from "./spawned.ts";

const scratch = scratchFolder();
const at = (name: string) => join(scratch.path, name);
const server = createServer();
afterAll(() => {
  server.close();
  scratch.remove();
});

const TRACE = '{"op":"host","version":1,"name":"intel","machine":"intel","kernel":"6.12","argv":[]}\n{"op":"end"}\n';

beforeAll(async () => {
  mkdirSync(at("directory"));
  symlinkSync(at("nowhere"), at("dangling"));
  spawnSync("mkfifo", [at("fifo")]);
  await new Promise<void>((ready) => server.listen(at("socket"), ready));
  writeFileSync(at("empty"), "");
  writeFileSync(at("one-line"), "a".repeat(50 << 20));
  writeFileSync(at("one-line.jsonl"), `{"op":"${"a".repeat(50 << 20)}"}\n`);
  writeFileSync(at("brackets"), "[".repeat(1 << 20));
  writeFileSync(at("lines"), "- a\n".repeat(1 << 20));
  writeFileSync(at("bytes"), Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 167 + 13) & 0xff)));
  writeFileSync(at("controls"), '"\u001b[2J\u009b31m\u0007": \u001b]0;x\u0007\n{"op":"\u001b[2J"}\n');
  writeFileSync(at("good.jsonl"), TRACE);
  mkdirSync(at("tree"));
});

/** Whatever is no input of any command: its name, and how the command line names it. */
const BAD: Readonly<Record<string, string>> = {
  "a file that is not there": "nowhere",
  "a name with control characters": "no\u001b[2Jwhere\nat all\u202e",
  "a name of 100 KB": "n".repeat(100_000),
  "a name of 3000 characters in folders": "n/".repeat(1500),
  "a directory": "directory",
  "a link to nowhere": "dangling",
  "a FIFO that nobody writes": "fifo",
  "a socket": "socket",
  "an empty file": "empty",
  "50 MB in one line": "one-line",
  "a recording with one line of 50 MB": "one-line.jsonl",
  "a million brackets": "brackets",
  "a million lines": "lines",
  "any bytes": "bytes",
  "control characters": "controls",
  "bytes without end": "/dev/zero",
  "nothing at all": "/dev/null",
  "a full device": "/dev/full",
};

/** Every place where a command reads a file. */
const READERS: Readonly<Record<string, (file: string) => readonly string[]>> = {
  "run -m": (file) => ["run", "-m", file, "--", "true"],
  "iova-list -m": (file) => ["iova-list", "-m", file, "0000:00:1b.0"],
  "fit -m": (file) => ["fit", "-m", file, "--memory", "1G"],
  "fit --ranges": (file) => ["fit", "-m", "amd", "--ranges", file],
  hosts: (file) => ["hosts", file],
  trace: (file) => ["trace", file],
  replay: (file) => ["replay", file],
  "replay -m": (file) => ["replay", "-m", file, at("good.jsonl")],
  selftests: (file) => ["selftests", file],
  "capture --root": (file) => ["capture", "--root", file],
};

describe("an input that is none ends in clear lines and exit status 2, in bounded time", () => {
  test.each(Object.entries(READERS))(
    "%s",
    async (_reader, command) => {
      await forEach(Object.entries(BAD), async ([what, name]) => {
        const file = name.startsWith("/") ? name : at(name);
        const { status, stdout, stderr } = await inShell('exec "$@"', command(file));
        expectClearLines(stderr, what);
        expect(stdout, what).toBe("");
        expect(status, what).toBe(2);
      });
    },
    10 * PATIENCE,
  );

  test(
    "memory is bounded as well",
    async () => {
      for (const reader of ["run -m", "fit --ranges", "trace", "replay", "hosts"]) {
        for (const file of ["/dev/zero", at("lines"), at("one-line")]) {
          const { status, stderr } = await inShell('ulimit -v 4000000; exec "$@"', READERS[reader]!(file));
          expectClearLines(stderr, `${reader} ${file}`);
          expect(status, `${reader} ${file}`).toBe(2);
        }
      }
    },
    PATIENCE,
  );

  test("a FIFO that somebody writes is read like any file", async () => {
    const fifo = at("written");
    spawnSync("mkfifo", [fifo]);
    const script = `(sleep 0.3; cat ${at("good.jsonl")} > ${fifo}) & exec "$@"`;
    expect(await inShell(script, ["trace", fifo])).toMatchObject({ status: 0, stderr: "" });
    expect(await inShell(script, ["replay", fifo])).toMatchObject({ status: 0, stderr: "" });
  });

  test("Ctrl-C ends the wait for a FIFO", async () => {
    const script = '"$@" & sleep 1; kill -INT $!; wait $!';
    const { milliseconds, status } = await inShell(`set -m; ${script}`, ["trace", at("fifo")]);
    expect(status).toBe(130);
    expect(milliseconds).toBeLessThan(4500);
  });
});

describe("- is stdin", () => {
  test.each([
    ["a host", ["run", "-q", "-m", "-", "--", "sh", "-c", "ls /dev/vfio"], "hosts intel --yaml", /^vfio$/m],
    ["a host for fit", ["fit", "-m", "-", "--memory", "1G"], "hosts amd --yaml", /^host +amd/m],
    ["a host to check", ["hosts", "-", "--yaml"], "hosts arm --yaml", /^name: arm$/m],
    ["a host for iova-list", ["iova-list", "-m", "-", "00:1b.0"], "hosts intel --yaml", /./],
  ])("%s", async (_what, args, source, answer) => {
    const { status, stdout, stderr } = await inShell(`"$1" "$2" ${source} | "$@"`, args);
    expect(stderr).toBe("");
    expect(stdout).toMatch(answer);
    expect(status).toBe(0);
  });

  test.each([
    ["trace", ["trace", "-"]],
    ["replay", ["replay", "-"]],
  ])("a trace for %s", async (_what, args) => {
    const run = await inShell(`"$@" < ${at("good.jsonl")}`, args);
    expect(run).toMatchObject({ status: 0, stderr: "" });
  });

  test("but only once", async () => {
    const run = await inShell('echo 0x0+1G | "$@"', ["fit", "-m", "-", "--ranges", "-"]);
    expect(run.status).toBe(2);
    expectClearLines(run.stderr, "both");
    const twice = await inShell(`"$@" < ${at("good.jsonl")}`, ["replay", "-", "-"]);
    expect(twice).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("- can stand for one of the files only"),
    });
  });

  test("closed, it is empty", async () => {
    for (const [what, command] of Object.entries(READERS)) {
      if (/selftests|capture/.test(what)) continue;
      const { status, stderr } = await inShell('"$@" <&-', command("-"));
      expectClearLines(stderr, what);
      expect(status, what).toBe(2);
    }
  });
});
