import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Build, start } from "./build.ts";

let build: Build;
let client: string;
let staticClient: string | undefined;
let ia32Client: string | undefined;

beforeAll(() => {
  build = new Build();
  client = build.client("interpose-client.c", "client", "-lpthread")!;
  staticClient = build.client("interpose-client.c", "client-static", "-static", "-lpthread");
  const bare = ["-m32", "-nostdlib", "-static", "-ffreestanding", "-fno-pie", "-no-pie", "-fno-stack-protector"];
  ia32Client = process.arch === "x64" ? build.client("interpose-ia32.c", "client-ia32", ...bare) : undefined;
});
afterAll(() => build.remove());

/** Without uvfio it says what it does not find. A program that the kernel does not take is given to a shell, which says nothing on stdout. */
function canRun(program: string): boolean {
  return spawnSync(program).stdout.length > 0;
}

async function output(command: string, ...args: string[]): Promise<string[]> {
  const { status, stdout, stderr } = await build.run({}, client, command, ...args);
  expect(stderr).toBe("");
  expect(status).toBe(0);
  return stdout.trimEnd().split("\n");
}

const BASIC = [
  "container opened=1 cloexec=1",
  "version=0 extension 3=1 2=0",
  "group opened=1 again=-16 cloexec=0",
  "no node=-2",
  "device=1 cloexec=1 wrong name=-19",
  "unknown request=-25 not open=-9 foreign=-25",
  "string length=12",
];

describe("programs", () => {
  test("a dynamic program is served", async () => {
    expect(await output("basic")).toEqual(BASIC);
  });

  test("a static program is served", async ({ skip }) => {
    if (staticClient === undefined) return skip("no static C library here");
    const { stdout } = await build.run({}, staticClient, "basic");
    expect(stdout.trimEnd().split("\n")).toEqual(BASIC);
  });

  test("threads that a program without a C library makes itself are served", async ({ skip }) => {
    if (process.arch !== "x64") return skip("the client is for x86-64");
    const bare = build.client("bare-threads.c", "bare-threads", "-nostdlib", "-static", "-ffreestanding")!;
    expect((await build.run({}, bare)).stdout).toBe("right 400\n");
  });

  test("a 32-bit program is served, 64-bit offsets in two registers included", async ({ skip }) => {
    if (ia32Client === undefined) return skip("gcc -m32 is not usable here");
    if (!canRun(ia32Client)) return skip("this machine's kernel runs no 32-bit programs");
    const { status, stdout } = await build.run({}, ia32Client);
    expect(stdout.trimEnd().split("\n")).toEqual([
      "open=1",
      "extension=1",
      "copy=8",
      `copied=${"g".charCodeAt(0)}`,
      "device=1",
      "pread64=4",
      `value=${0xa7}`,
      "pread64 BAR0=4",
      `value=${0xa0}`,
      "pwrite64=1",
      "preadv=3",
      `value=${0xa2}`,
      "pread64 bulk=64",
      `value=${0xa0}`,
      "read=64",
      "write=2",
      "readv=3",
      "writev=3",
      "preadv at 64=3",
      "negative=-22",
      "lseek=-29",
      "_llseek=-29",
      "container=-22",
      "mmap2=1",
      `mapped=${0x33}`,
      "mmap2 config=-22",
      "fstat64=0",
      "char device=1",
      `rdev=${(10 << 8) | 196}`,
      "openat2=1",
      "openat2 short=-22",
      "openat2 long=1",
      "openat2 beneath=-18",
    ]);
    expect(status).toBe(3);
  });

  test("16 threads are served at the same time", async () => {
    expect(await output("threads", "16", "200")).toEqual(["16 threads bad=0"]);
  });

  test("fork, exec, posix_spawn and vfork keep what was open and open more", async () => {
    expect(await output("children")).toEqual([
      "fork: inherited=1 own=1",
      "exec: inherited=1",
      "exec: inherited=1",
      "posix_spawn: status=0",
      "exec: inherited=1",
      "vfork: status=0",
    ]);
  });

  test("a descriptor passed over a socket works in the other process and is the same file", async () => {
    expect(await output("passing")).toEqual(["received: group=1 busy=-16", "after close: opened=1"]);
  });
});

describe("open", () => {
  test("every way to name a node finds it", async () => {
    expect(await output("paths")).toEqual([
      "absolute=1 relative=1 folder/vfio=1 /dev/../dev/./vfio//vfio=1 ../../dev/vfio/vfio=1 missing=-2 " +
        "openat=1 openat2=1 nofollow=-40 exclusive=-17 create=1 bad path=-14",
    ]);
  });

  test("a node that was opened for reading only takes requests too", async () => {
    expect(await output("read-only")).toEqual([
      "version=0 extension=1 cloexec=1 access=0",
      "first=1 second=-16",
      "then=1 releases=2",
      "O_PATH=-9",
    ]);
  });

  test("without a free descriptor the open fails, and so does the ioctl that makes one, with nothing left open", async () => {
    expect(await output("no-descriptors")).toEqual(["open=-24 then=1 lowest=1 device=-24 releases=1"]);
  });

  test("an internal error of the model is EIO and one line for the observer", async () => {
    const log = build.path("crash.log");
    const { stdout } = await build.run({ host: { log } }, client, "request", "0x3ba8");
    expect(stdout).toBe("-5\n");
    const lines = fs
      .readFileSync(log, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toContainEqual({ broken: "internal error in ioctl 0x3ba8 on container: the tiny model broke" });
  });
});

describe("observer", () => {
  test("hears each call with its file, request, result and reason", async () => {
    const log = build.path("observer.log");
    await build.run({ host: { log, namesAll: true } }, client, "basic");
    const calls = fs
      .readFileSync(log, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
      .filter((line) => line.broken === undefined);
    const opened = calls.find((call) => call.path === "/dev/vfio/vfio");
    expect(opened).toMatchObject({
      call: "openat",
      kind: "container",
      label: "container",
      program: "client",
      delivered: true,
    });
    expect(opened.result).toBe(opened.fd);
    expect(calls.find((call) => call.request === 0x3b65)).toMatchObject({
      call: "ioctl",
      fd: opened.fd,
      result: expect.any(Number),
    });
    expect(calls.find((call) => call.result === -16)).toMatchObject({
      path: "/dev/vfio/12",
      error: "EBUSY: group 12 is open already",
      fd: -1,
    });
    for (const call of calls) expect(call.microseconds).toBeGreaterThan(0);
  });
});

test("an observer that fails does not end the program's host", async () => {
  const log = build.path("observer-broke.log");
  const { status, stdout } = await build.run({ host: { log } }, client, "basic");
  expect([status, stdout.trimEnd().split("\n")]).toEqual([0, BASIC]);
  expect(fs.readFileSync(log, "utf8")).toContain("internal error in the observer: Error: the observer broke");
});

describe("files", () => {
  test("the model sees which of its files a descriptor is, eventfds, other files, and closed ones", async () => {
    expect(await output("kinds")).toEqual(["10 11 12 2 1 0 0 raise=0 read=8 count=1 not an event=-22"]);
  });

  test("regions are read, written and mapped", async () => {
    expect(await output("regions")).toEqual([
      "pread config=4 value=a7a7a7a7",
      "pread small BAR0=4 value=a0a0a0a0",
      "pread bulk BAR0=64 first=a0",
      "preadv=5 value=a2a2a2 a2a2",
      "preadv2=5",
      "pwrite=2 memory=22",
      "pwritev=3 memory=44",
      "pread bad buffer=-14",
      "pread of a container=-22 negative offset=-22",
      "mmap=1 written by us=5a read by us=22",
      "mmap config=-22 container=-19 private=-22",
    ]);
  });

  test("reads and writes at the position reach the model, in bulk and in segments; what cannot be told apart fails", async () => {
    expect(await output("positions")).toEqual([
      "pread=4096 first=a0 preadv=5 a0 a0",
      "read=4088 first=a0 readv=5 value=a0 write=1 memory=66 writev=1 memory=66 read=1 a0 read=1 c0",
      "preadv2 at the position=1 c0 with a flag=-95 beyond 2^53=8 negative=-22",
      "second part bad=4 first bad=-14 negative length=-22 nothing=0 lseek=-29 unknown whence=-22",
      "container: read=-22 write=-22 writev=-22 pread=-22 pwrite=-22 then read=-22",
      "a copy with a low number: read=-22 write=-22 pread=8 a0 ftruncate=-1 container's pwrite=-1",
      "foreign: read=8 position=8",
      "foreign, small: pread=8 7f then a device: pread=8 a0",
      "foreign with one of our numbers: read=8 pread=64 position=16",
      "no number of ours free: low=1 answers=1 read=-22 write=-22",
      "write-only group: read=-9 device=8",
    ]);
  });

  test("the model hears when an eventfd is written to, before the program's next call", async () => {
    expect(await output("watch")).toEqual(["before=1 2 3 4 taken=1 stopped=5"]);
  });

  test("the model sees what is written to mapped memory, before the next call and without one", async () => {
    expect(await output("doorbell")).toEqual(["before the call=88 without a call=88"]);
  });

  test("KVM's VFIO device takes groups and devices, and knows which it has", async ({ skip }) => {
    const lines = await output("kvm");
    if (lines[0] === "no KVM") return skip("KVM or its VFIO device is not usable here");
    expect(lines).toEqual([
      "has add=0 77=-6",
      "del first=-2 add=0 again=-17 its copy=-17 device=0 del through a copy=0 again=-2 add=0",
      "container=-22 foreign=-22 closed=-9 bad address=-14 unknown=-6 elsewhere=-22",
      "another machine with its number: same=1 del=-2 add=0",
    ]);
  });

  test("fstat shows the character device, and an anonymous inode for what an ioctl returned", async () => {
    expect(await output("stats")).toEqual([
      "/dev/vfio/vfio char=1 rdev=10:196 fstatat=10:196 statx=10:196 mode=666 size=0",
      "/dev/vfio/12 char=1 rdev=240:3 fstatat=240:3 statx=240:3 mode=600 size=0",
      "/dev/vfio/vfio char=1 rdev=10:196 fstatat=10:196 statx=10:196 mode=666 size=0",
      "device mode=600 rdev=0 size=0",
      "foreign same=1 bad fd=-9",
    ]);
  });

  test("fstat stays native when that is asked for", async () => {
    const { stdout } = await build.run({ trapFstat: false }, client, "stats");
    expect(stdout).toContain("/dev/vfio/vfio char=0");
  });

  test("a file is released with its last descriptor or mapping, before the next call", async () => {
    expect(await output("last-close")).toEqual([
      "dup held: busy=-16 then opened=1 releases=1",
      "mapping held: releases=1 then=2",
      "reopened through /proc: releases=2 still answers=1",
      "200 times closed and opened",
    ]);
  });
});

describe("signals", () => {
  test("a storm of signals makes no call twice and loses none", async () => {
    expect(await output("storm")).toEqual(["signals=1 bad=0 opened=200 releases=200"]);
  });

  test("a supervisor that is interrupted all the time gives out every descriptor", async () => {
    const running = start(build.command({}, client, "openings", "300"));
    let over = false;
    running.finished.finally(() => {
      over = true;
    });
    await running.says("ready");
    let stops = 0;
    for (; !over; stops++) {
      for (let i = 0; i < 20; i++) {
        running.child.kill("SIGSTOP");
        running.child.kill("SIGCONT");
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(stops).toBeGreaterThan(5);
    expect((await running.finished).stdout).toBe("ready\nbad=0 left=0\n");
  });

  test("programs killed at any moment leave nothing open, neither in the model nor in uvfio", async () => {
    const running = start(build.command({}, client, "killings", "60"));
    await running.says("busy");
    const links = fs.readdirSync(`/proc/${running.child.pid}/fd`).map((fd) => {
      try {
        return fs.readlinkSync(`/proc/${running.child.pid}/fd/${fd}`);
      } catch {
        return "";
      }
    });
    expect(links.filter((link) => link.includes("memfd:uvfio-")).map((link) => link.split(" ")[0])).toEqual([
      "/memfd:uvfio-container",
    ]);
    expect(await running.finished).toMatchObject({ status: 0, stdout: "busy=0 releases=1\n" });
  });

  test("a program killed in the middle of a call leaves nothing open", async () => {
    expect(await output("killed")).toEqual(["signal=9 group free again=1 releases=1"]);
  });
});
