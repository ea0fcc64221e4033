import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { HOST_CALLS } from "../../src/interpose/host-calls.ts";
import { CallList } from "../../src/interpose/launch/call-list.ts";
import { launcherCode, launcherImage } from "../../src/interpose/launch/launcher-image.ts";
import { spawnLauncher } from "../../src/interpose/launch/spawn-launcher.ts";
import { syscall } from "../../src/interpose/libc.ts";
import { AT_FDCWD, O_WRONLY } from "../../src/interpose/linux.ts";
import { Arena } from "../../src/native/arena.ts";
import { scratchFolder } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const has = (program: string) => spawnSync(program, ["--version"]).status === 0;

describe("the launcher's code is what its source assembles to", () => {
  test.each([
    ["x64", ""],
    ["arm64", "aarch64-linux-gnu-"],
  ])("%s (needs binutils for it)", (architecture, prefix) => {
    const native = process.arch === architecture;
    const tools = native ? "" : prefix;
    if (!has(`${tools}as`)) return expect(process.env.CI).toBeUndefined();
    const source = path.join(import.meta.dirname, `../clients/launcher-${architecture}.s`);
    const [object, code] = [path.join(scratch.path, "o"), path.join(scratch.path, "bin")];
    expect(spawnSync(`${tools}as`, [source, "-o", object]).status).toBe(0);
    spawnSync(`${tools}objcopy`, ["-O", "binary", "-j", ".text", object, code]);
    expect(launcherCode(architecture)?.toString("hex")).toBe(fs.readFileSync(code).toString("hex"));
  });
});

/** A launcher, and its end. */
function started() {
  const launcher = spawnLauncher([]);
  const send = (...lists: CallList[]) => {
    fs.writeSync(launcher.socket, Buffer.concat(lists.map((list) => list.encode())));
    const bytes = Buffer.alloc(65536);
    let answer: Buffer = Buffer.alloc(0);
    for (const list of lists) {
      while (!list.done) {
        if (answer.length === 0) answer = bytes.subarray(0, fs.readSync(launcher.socket, bytes));
        if (answer.length === 0) return undefined;
        answer = list.answer(answer);
      }
    }
    return answer.length;
  };
  const status = () => {
    fs.closeSync(launcher.socket);
    const arena = new Arena(8);
    expect(syscall(HOST_CALLS.wait4, launcher.pid, arena.address, 0, 0)).toBe(launcher.pid);
    return arena.u32(0) >> 8;
  };
  return { ...launcher, send, status };
}

describe("the launcher", () => {
  const file = path.join(scratch.path, "written");

  test("makes the calls of a list, with texts, bytes and earlier results", () => {
    const launcher = started();
    const list = new CallList();
    const fd = list.call(HOST_CALLS.openat, [AT_FDCWD, file, O_WRONLY | 0o100, 0o600]);
    const text = Buffer.from("prüfen\n");
    const written = list.call(HOST_CALLS.write, [fd, text, text.length]);
    const closed = list.call(HOST_CALLS.close, [fd]);
    const again = list.call(HOST_CALLS.close, [fd]);
    expect(launcher.send(list)).toBe(0);
    expect([written, closed, again].map((call) => list.result(call))).toEqual([text.length, 0, -9]);
    expect(fs.readFileSync(file)).toEqual(text);
    expect(launcher.status()).toBe(1);
  });

  test("takes lists one by one, however they arrive", () => {
    const launcher = started();
    const lists = Array.from({ length: 50 }, (_, n) => {
      const list = new CallList();
      for (let i = 0; i <= n; i++) list.call(HOST_CALLS.umask, [i]);
      return list;
    });
    expect(launcher.send(...lists)).toBe(0);
    launcher.status();
  });

  test("ends when a call that it cannot do without fails, and makes none behind it", () => {
    const launcher = started();
    const list = new CallList();
    list.call(HOST_CALLS.close, [1000], (errno) => new Error(`refused: ${errno}`));
    list.call(HOST_CALLS.openat, [AT_FDCWD, `${file}-1`, O_WRONLY | 0o100, 0o600]);
    const next = new CallList();
    next.call(HOST_CALLS.openat, [AT_FDCWD, `${file}-2`, O_WRONLY | 0o100, 0o600]);
    expect(() => launcher.send(list, next)).toThrow("refused: EBADF");
    expect(launcher.status()).toBe(1);
    expect([fs.existsSync(`${file}-1`), fs.existsSync(`${file}-2`)]).toEqual([false, false]);
  });

  test("refuses a list that is longer than its buffer", () => {
    const list = new CallList();
    list.call(HOST_CALLS.close, [Buffer.alloc(0x100_0000)]);
    expect(() => list.encode()).toThrow(/takes \d+ bytes .*: 16777216 at most/);
  });
});

test("the arm64 launcher makes calls (needs qemu-aarch64-static)", async ({ skip }) => {
  if (!has("qemu-aarch64-static")) return skip("qemu-user-static is not here");
  const program = path.join(scratch.path, "arm64");
  fs.writeFileSync(program, launcherImage("arm64", 3)!, { mode: 0o755 });
  const child = spawn("qemu-aarch64-static", [program], { stdio: ["ignore", "pipe", "inherit", "pipe"] });
  const control = child.stdio[3] as import("node:net").Socket;
  const list = new CallList();
  const text = "from arm64\n";
  // arm64's numbers: write 64, close 57
  const written = list.call(64, [1, text, text.length]);
  list.call(57, [written]);
  list.call(57, [77], (errno) => new Error(errno));
  let output = "";
  child.stdout!.on("data", (piece) => {
    output += piece;
  });
  const error = await new Promise<unknown>((resolve) => {
    control.on("data", (answer: Buffer) => {
      try {
        list.answer(answer);
      } catch (refused) {
        resolve(refused);
      }
    });
    control.write(list.encode());
  });
  expect((error as Error).message).toBe("EBADF");
  const status = await new Promise((resolve) => child.on("close", resolve));
  expect([output, status, list.result(written)]).toEqual([text, 1, text.length]);
});
