import fs from "node:fs";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { memoryFile } from "../../src/interpose/descriptors.ts";
import { HeldFileMemory } from "../../src/interpose/file-memory.ts";
import { HOST_CALLS } from "../../src/interpose/host-calls.ts";
import { close, syscall } from "../../src/interpose/libc.ts";
import { F_ADD_SEALS, MFD_ALLOW_SEALING, MFD_NOEXEC_SEAL, O_PATH } from "../../src/interpose/linux.ts";
import { KernelError } from "../../src/kernel/errors.ts";
import { ERRNO } from "../../src/uapi/errno.ts";

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

describe("a device may do with a file what the program may do by its descriptor", () => {
  function memfd(seals = 0): number {
    const fd = memoryFile("uvfio-file-memory-test", MFD_NOEXEC_SEAL, MFD_ALLOW_SEALING);
    opened.push(fd);
    fs.writeSync(fd, "0123456789");
    if (seals !== 0) expect(syscall(HOST_CALLS.fcntl, fd, F_ADD_SEALS, seals)).toBe(0);
    return fd;
  }
  const F_SEAL_WRITE = 8;
  const F_SEAL_FUTURE_WRITE = 16;

  test("read only, by one for reading: of a file, and of a memfd", () => {
    fs.writeFileSync(file, "0123456789");
    for (const fd of [open(file, "r"), open(`/proc/self/fd/${memfd()}`, "r")]) {
      const memory = HeldFileMemory.open(pidfd, fd)!;
      expect(bytes(memory, 2, 3)).toBe("234");
      expect(errno(() => memory.write(0, Buffer.from("RE")))).toBe("EFAULT");
      expect(bytes(memory, 0, 4)).toBe("0123");
      memory.release();
    }
    expect(fs.readFileSync(file, "utf8")).toBe("0123456789");
  });

  test.each([F_SEAL_WRITE, F_SEAL_FUTURE_WRITE])("read only, what is sealed (%i)", (seal) => {
    const fd = memfd(seal);
    const memory = HeldFileMemory.open(pidfd, fd)!;
    expect(bytes(memory, 2, 3)).toBe("234");
    expect(errno(() => memory.write(0, Buffer.from("RE")))).toBe("EFAULT");
    memory.release();
  });

  test("write on, what is sealed after it was handed over against later writers", () => {
    const fd = memfd();
    const memory = HeldFileMemory.open(pidfd, fd)!;
    // a device that may write keeps the stronger seal away, as pinned pages do
    expect(syscall(HOST_CALLS.fcntl, fd, F_ADD_SEALS, F_SEAL_WRITE)).toBe(-ERRNO.EBUSY);
    expect(syscall(HOST_CALLS.fcntl, fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)).toBe(0);
    memory.write(0, Buffer.from("RE"));
    expect(bytes(memory, 0, 4)).toBe("RE23");
    memory.release();
  });

  test("write only, by one for writing; nothing by one that appends or that only names the file", () => {
    fs.writeFileSync(file, "0123456789");
    const writing = fs.openSync(file, fs.constants.O_WRONLY);
    const appending = fs.openSync(file, fs.constants.O_WRONLY | fs.constants.O_APPEND);
    const naming = fs.openSync(file, O_PATH);
    opened.push(writing, appending, naming);
    const memory = HeldFileMemory.open(pidfd, writing)!;
    memory.write(8, Buffer.from("xy"));
    expect(errno(() => bytes(memory, 0, 4))).toBe("EFAULT");
    expect(errno(() => memory.write(9, Buffer.from("zz")))).toBe("EFAULT");
    memory.release();
    for (const fd of [appending, naming]) {
      const other = HeldFileMemory.open(pidfd, fd);
      if (other) expect(errno(() => other.write(0, Buffer.from("no")))).toBe("EFAULT");
      if (other) expect(errno(() => bytes(other, 0, 4))).toBe("EFAULT");
      other?.release();
    }
    expect(fs.readFileSync(file, "utf8")).toBe("01234567xy");
  });
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
