import fs from "node:fs";
import { afterAll, afterEach, expect, test } from "vitest";
import { HeldFileMemory } from "../../src/interpose/file-memory.ts";
import { HOST_CALLS } from "../../src/interpose/host-calls.ts";
import { close, syscall } from "../../src/interpose/libc.ts";
import { KernelError } from "../../src/kernel/errors.ts";

const pidfd = syscall(HOST_CALLS.pidfd_open, process.pid, 0);
const file = "/dev/shm/uvfio-file-memory-test";
const opened: number[] = [];

afterAll(() => close(pidfd));

afterEach(() => {
  for (const fd of opened.splice(0)) fs.closeSync(fd);
  fs.rmSync(file, { force: true });
});

function open(at: string, flags: string): number {
  const fd = fs.openSync(at, flags);
  opened.push(fd);
  return fd;
}

function descriptors(): number {
  return fs.readdirSync("/proc/self/fd").length;
}

function bytes(memory: HeldFileMemory, offset: number, length: number): string {
  const into = new Uint8Array(length);
  memory.read(offset, into);
  return Buffer.from(into).toString();
}

function errno(call: () => void): string {
  try {
    call();
    return "ok";
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return error.code;
  }
}

test("a file in tmpfs is read and written as it is, also when it grows", () => {
  fs.writeFileSync(file, "0123456789");
  const fd = open(file, "r+");
  const before = descriptors();
  const memory = HeldFileMemory.open(pidfd, fd)!;
  expect(memory.size).toBe(10);
  expect(bytes(memory, 3, 4)).toBe("3456");
  memory.write(8, Buffer.from("xy"));
  expect(fs.readFileSync(file, "utf8")).toBe("01234567xy");
  fs.ftruncateSync(fd, 100_000);
  const large = Buffer.alloc(70_000, "z");
  memory.write(20_000, large);
  expect(fs.readFileSync(file).subarray(20_000, 90_000).equals(large)).toBe(true);
  expect(bytes(memory, 89_999, 2)).toBe("z\0");
  memory.release();
  expect(descriptors()).toBe(before);
});

test("what lies beyond its end is not reached, and a write does not make it longer", () => {
  fs.writeFileSync(file, Buffer.alloc(16384, "a"));
  const fd = open(file, "r+");
  const memory = HeldFileMemory.open(pidfd, fd)!;
  expect(errno(() => bytes(memory, 16380, 8))).toBe("EFAULT");
  expect(bytes(memory, 16380, 4)).toBe("aaaa");
  // it is cut under a mapping that is there
  fs.ftruncateSync(fd, 4096);
  expect(errno(() => bytes(memory, 12288, 4))).toBe("EFAULT");
  expect(errno(() => memory.write(12288, Buffer.from("b")))).toBe("EFAULT");
  expect(fs.fstatSync(fd).size).toBe(4096);
  memory.release();
});

test("a descriptor for reading is enough", () => {
  fs.writeFileSync(file, "read only?");
  const memory = HeldFileMemory.open(pidfd, open(file, "r"))!;
  memory.write(0, Buffer.from("RE"));
  expect(fs.readFileSync(file, "utf8")).toBe("REad only?");
  memory.release();
});

test("other files are no memory, and nothing stays open for them", () => {
  const files = [
    open("/dev/null", "r+"),
    open("/proc/self/status", "r"),
    open("/dev/shm", "r"),
    open(process.execPath, "r"),
  ];
  const before = descriptors();
  for (const fd of [...files, 9999]) expect(HeldFileMemory.open(pidfd, fd)).toBeUndefined();
  expect(descriptors()).toBe(before);
});
