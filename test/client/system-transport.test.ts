import { closeSync, mkdtempSync, openSync, readSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { SystemTransport } from "../../src/client/system-transport.ts";
import { O_CLOEXEC, O_RDWR, SystemCallError } from "../../src/client/transport.ts";

/** ioctl() that works on every file: how many bytes are left to read. */
const FIONREAD = 0x541b;

const folder = mkdtempSync(join(tmpdir(), "uvfio-system-transport-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("the system transport", () => {
  const transport = new SystemTransport();
  const path = join(folder, "file");
  writeFileSync(path, "hello");

  it("opens, reads, writes and closes", () => {
    const fd = transport.open(path, O_RDWR | O_CLOEXEC);
    expect(transport.pwrite(fd, Buffer.from("J"), 0)).toBe(1);
    const into = new Uint8Array(10);
    expect(transport.pread(fd, into.subarray(2), 0n)).toBe(5);
    expect(Buffer.from(into).toString("latin1")).toBe("\0\0Jello\0\0\0");
    transport.close(fd);
    expect(() => transport.close(fd)).toThrow("EBADF");
  });

  it("passes structures to ioctl() in place, values as they are", () => {
    const fd = transport.open(path, O_RDWR);
    const bytes = new Uint8Array(12).fill(0xa5);
    expect(transport.ioctl(fd, FIONREAD, bytes.subarray(4, 8))).toBe(0);
    expect([...bytes]).toEqual([0xa5, 0xa5, 0xa5, 0xa5, 5, 0, 0, 0, 0xa5, 0xa5, 0xa5, 0xa5]);
    expect(() => transport.ioctl(fd, FIONREAD, 0)).toThrow("EFAULT");
    expect(() => transport.ioctl(fd, 0x3b64, 0, "VFIO_GET_API_VERSION")).toThrow("VFIO_GET_API_VERSION: ENOTTY");
    transport.close(fd);
  });

  it("allocates memory that the kernel sees at its address", () => {
    const memory = transport.allocate(5000);
    expect(memory.bytes.length % 4096).toBe(0);
    expect(memory.address % 4096n).toBe(0n);
    memory.bytes.set([1, 2, 3], 4096);
    const fd = openSync("/proc/self/mem", "r");
    const seen = Buffer.alloc(3);
    readSync(fd, seen, 0, 3, Number(memory.address) + 4096);
    closeSync(fd);
    expect([...seen]).toEqual([1, 2, 3]);
    memory.free();
    expect(memory.bytes[4096]).toBe(0);
  });

  it("says what failed", () => {
    expect(() => transport.open(join(folder, "nothing"), O_RDWR)).toThrow(/^open .*nothing: ENOENT$/);
    expect(() => transport.open("/dev/vfio/4711", O_RDWR)).toThrow("ENOENT (no such node");
    expect(() => transport.allocate(2 ** 60)).toThrow("ENOMEM");
    expect(() => transport.readlink(path)).toThrow(SystemCallError);
  });

  it("follows names in the file system", () => {
    symlinkSync("file", join(folder, "link"));
    expect(transport.readlink(join(folder, "link"))).toBe("file");
    expect(transport.exists(path)).toBe(true);
    expect(transport.exists(join(folder, "nothing"))).toBe(false);
  });
});
