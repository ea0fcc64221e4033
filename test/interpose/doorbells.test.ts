import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { compile, finished, scratchFolder, UVFIO, uvfio } from "../cli/uvfio.ts";
import { hasWatchedRegisters } from "../programs/watched-registers.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const SCRIBE = fileURLToPath(new URL("scribe.yaml", import.meta.url));
const has = (program: string) => spawnSync(program, ["--version"]).status === 0;
const isRoot = process.getuid?.() === 0;

const isWatched = hasWatchedRegisters(scratch.path);
if (!isWatched) console.log("watched registers: skipped, there is no gcc or no userfaultfd of Linux 5.19");

describe.skipIf(!isWatched)("a program that rings ioat's doorbell (needs gcc)", () => {
  const program = isWatched ? compile("doorbell", scratch.path) : "";
  chmodSync(scratch.path, 0o755);
  const run = (mode: string) => uvfio("run", "-q", "-m", "lab", "--", program, "0000:01:00.0", mode);

  test.each(["plain", "threads", "vfork", "signals", "maps"])(
    "reads the outcome in its next instruction: %s",
    (mode) => {
      expect(run(mode)).toMatchObject({ stderr: "", stdout: "stale 0\n", status: 0 });
    },
  );

  test.skipIf(!isRoot).each(["fork", "stop"])("and in a child, of which only root hears: %s", (mode) => {
    expect(run(mode)).toMatchObject({ stderr: "", stdout: "stale 0\n", status: 0 });
  });

  test("goes on when its whole process group is interrupted, uvfio included", () => {
    const command = [process.execPath, UVFIO, "run", "-q", "-m", "lab", "--", program, "0000:01:00.0", "interrupt"];
    expect(finished("setsid", ["-w", ...command])).toMatchObject({ stderr: "", stdout: "stale 0\n", status: 0 });
  });

  test.skipIf(!has("strace"))("is served when strace has started it, and uvfio says what it cannot do then", () => {
    const strace = ["strace", "-f", "-o", "/dev/null", program, "0000:01:00.0", "polled"];
    const { status, stdout, stderr } = uvfio("run", "-m", "lab", "--", ...strace);
    expect([status, stdout]).toEqual([0, "done 1\n"]);
    expect(stderr).toMatch(
      /^uvfio: process \d+ maps registers of device 0000:01:00.0, and strace\[\d+\] traces it: .* may be old .*\n$/,
    );
  });

  test.skipIf(!has("strace"))("is served by an uvfio that is itself under strace", () => {
    const command = [process.execPath, UVFIO, "run", "-m", "lab", "--", program, "0000:01:00.0", "polled"];
    expect(finished("strace", ["-f", "-o", "/dev/null", ...command])).toMatchObject({ status: 0, stdout: "done 1\n" });
  });

  test("executes another one", () => {
    expect(run("exec")).toMatchObject({ stderr: "", stdout: "stale 0\nexecuted\n", status: 9 });
  });

  test.each([
    ["exit", 42],
    ["crash", 128 + 11],
  ])("keeps its exit status: %s", (mode, status) => {
    expect(run(mode).status).toBe(status);
  });
});

describe.skipIf(!isWatched)("writes to the registers of a device of one's own (needs gcc)", () => {
  const program = isWatched ? compile("watched-registers", scratch.path) : "";
  const command = (mode: string) => [UVFIO, "run", "-m", SCRIBE, "--", program, mode];
  const run = (mode: string) => finished(process.execPath, command(mode));

  test.each([
    ["of the value that is there are counted too", "same", "watched 1 missed 0 descriptors 0\n"],
    ["of many threads come in the order of each, to the last", "writers", "missed 0 backward 0 descriptors 0\n"],
    ["are heard of when parts are unmapped and mapped anew", "unmap", "heard 1 descriptors 0\n"],
    ["are heard of when the mapping moves, or another one takes its place", "move", "heard 1 descriptors 0\n"],
    ["are heard of when another process maps them", "two", "child 0 heard 1 descriptors 0\n"],
    ["are heard of when processes were killed in the middle of one", "killed", "heard 1 descriptors 0\n"],
  ])("%s", (_what, mode, stdout) => {
    expect(run(mode)).toMatchObject({ stderr: "", stdout, status: 0 });
  });

  test.skipIf(!isRoot).each([
    ["a child", "fork", "child 0 heard 1 descriptors 0\n"],
    ["a child whose parent is gone", "orphan", "child 0 heard 1 descriptors 2\n"],
  ])("of %s are heard of", (_who, mode, stdout) => {
    expect(run(mode)).toMatchObject({ stderr: "", stdout, status: 0 });
  });

  test("are looked for where the program's own filter refuses userfaultfd", () => {
    expect(run("sandbox")).toMatchObject({
      stderr: expect.stringMatching(/^uvfio: process \d+ maps registers of device 0000:01:00.0, and its memory cannot/),
      stdout: expect.stringMatching(/^watched 0 heard 1/),
      status: 0,
    });
  });

  test("cost nothing while there are none, and leave nothing behind", async () => {
    const child = spawn(process.execPath, command("idle"));
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    await lines.next();
    await pause(300);
    const before = wakings(child);
    await pause(1000);
    // an ordinary user's uvfio looks for forked children now and then (docs/memory.md)
    if (isRoot) expect(wakings(child) - before).toBeLessThan(5);
    expect(userfaults(child)).toBe(1);
    child.stdin.end("\n");
    expect((await lines.next()).value).toBe("heard 1 descriptors 0");
    expect(await ended(child)).toBe(0);
  });

  test.skipIf(!has("gdb")).each([
    ["gdb", (pid: string) => ["-p", pid, "-batch", "-ex", "bt"]],
    ["strace", (pid: string) => ["-o", "/dev/null", "-p", pid]],
  ] as const)("are heard of while %s is attached", async (debugger_, args) => {
    const child = spawn(process.execPath, command("write"));
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const pid = String((await lines.next()).value).split(" ")[1]!;
    const attached = spawnSync("timeout", ["-s", "INT", "2", debugger_, ...args(pid)], { encoding: "utf8" });
    expect(attached.stderr).not.toMatch(/ptrace/);
    child.stdin.end("\n");
    expect((await lines.next()).value).toBe("wrote 1 descriptors 0");
    expect(await ended(child)).toBe(0);
  });

  test("do not keep a program from going on when uvfio is killed", async () => {
    const child = spawn(process.execPath, command("write"), { stdio: ["pipe", "pipe", "ignore"] });
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    await lines.next();
    child.kill("SIGKILL");
    await pause(100);
    child.stdin.end("\n");
    expect((await lines.next()).value).toBe("wrote 1 descriptors 0");
  });
});

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const ended = (child: ChildProcess) => new Promise((resolve) => child.once("close", resolve));

/** How often any thread of a process went to sleep by itself, and so was woken. */
function wakings({ pid }: ChildProcess): number {
  let count = 0;
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${tid}/status`, "utf8");
    count += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]);
  }
  return count;
}

function userfaults({ pid }: ChildProcess): number {
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return "";
    }
  });
  return links.filter((link) => link === "anon_inode:[userfaultfd]").length;
}
