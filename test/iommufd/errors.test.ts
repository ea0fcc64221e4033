import { beforeEach, describe, expect, test } from "vitest";
import { CAP_SYS_RESOURCE } from "../../src/kernel/task.ts";
import * as uapi from "../../src/uapi/iommufd.ts";
import { IommufdProgram } from "./iommufd-program.ts";

const PAGE = 4096n;
const LAST = 2n ** 64n - 1n;

let program: IommufdProgram;
let fd: number | string;
let ioas: number | string;
let memory: number;

beforeEach(() => {
  program = new IommufdProgram();
  fd = program.iommufd();
  ioas = program.ioas(fd);
  memory = program.memory(16 * 4096);
});

/** A structure with one more field's worth of bytes behind it. */
function longer(bytes: Uint8Array, tail: number): Uint8Array {
  const out = new Uint8Array(bytes.length + 4);
  out.set(bytes);
  new DataView(out.buffer).setUint32(0, out.length, true);
  new DataView(out.buffer).setUint32(bytes.length, tail, true);
  return out;
}

describe("the size of a structure", () => {
  const alloc = uapi.IommuIoasAlloc.encode({ size: uapi.IommuIoasAlloc.size });

  test("must be at least what the request began with", () => {
    const short = uapi.IommuIoasAlloc.encode({ size: 8 });
    expect(program.ioctlBytes(fd, uapi.IOMMU_IOAS_ALLOC, short)).toBe("EINVAL");
    expect(program.reason).toBe("size of struct iommu_ioas_alloc is 8, at least 12 are needed");
  });

  test("may be larger when the rest is zero", () => {
    expect(program.ioctlBytes(fd, uapi.IOMMU_IOAS_ALLOC, longer(alloc, 0))).toBe(0);
    expect(program.ioctlBytes(fd, uapi.IOMMU_IOAS_ALLOC, longer(alloc, 1))).toBe("E2BIG");
  });

  test("that cannot be read is a fault", () => {
    expect(program.ioctl(fd, uapi.IOMMU_IOAS_ALLOC, 0)).toBe("EFAULT");
  });
});

describe("objects", () => {
  test("have the lowest free id", () => {
    const ids = [program.ioas(fd), program.ioas(fd), program.ioas(fd)];
    expect(ids).toEqual([2, 3, 4]);
    expect(program.destroy(fd, 3)).toBe(0);
    expect(program.destroy(fd, 1)).toBe(0);
    expect([program.ioas(fd), program.ioas(fd), program.ioas(fd)]).toEqual([1, 3, 5]);
  });

  test("are found in their own iommufd only", () => {
    const other = program.iommufd();
    expect(program.mapIoas(other, ioas, memory, PAGE)).toBe("ENOENT");
    expect(program.destroy(other, ioas)).toBe("ENOENT");
  });

  test("can be destroyed with mappings in them", () => {
    expect(program.mapIoas(fd, ioas, memory, PAGE)).toBe(PAGE);
    expect(program.destroy(fd, ioas)).toBe(0);
    expect(program.unmapIoas(fd, ioas)).toBe("ENOENT");
  });
});

describe("mapping", () => {
  test.each([
    ["neither readable nor writeable", { access: 0 }, PAGE, "EINVAL"],
    ["an unknown flag", { access: 8 }, PAGE, "EOPNOTSUPP"],
    ["nothing", {}, 0n, "EINVAL"],
    ["more than half of the address space", {}, 2n ** 63n, "EOVERFLOW"],
    ["2^64-1 bytes", {}, LAST, "EOVERFLOW"],
    ["at 2^64-1", { iova: LAST }, 1n, "EOVERFLOW"],
    ["past the end", { iova: LAST - 1n }, PAGE, "EOVERFLOW"],
  ])("%s", (_what, options, length, errno) => {
    expect(program.mapIoas(fd, ioas, memory, length, options)).toBe(errno);
  });

  test("what is mapped", () => {
    expect(program.mapIoas(fd, ioas, memory, 2n * PAGE, { iova: 0x10000n })).toBe(0x10000n);
    expect(program.mapIoas(fd, ioas, memory, PAGE, { iova: 0x11000n })).toBe("EEXIST");
    expect(program.reason).toBe("iova 0x11000-0x11fff overlaps the mapping 0x10000-0x11fff; unmap that first");
  });

  test("to the byte while nothing is attached", () => {
    expect(program.mapIoas(fd, ioas, memory + 1, 1n, { iova: 7n })).toBe(7n);
    expect(program.mapIoas(fd, ioas, memory + 9, 3n, { iova: 8n })).toBe(8n);
    expect(program.unmapIoas(fd, ioas, 0n, 20n)).toBe(4n);
  });

  test("when all that is allowed is full", () => {
    const ranges = program.memory(4096);
    const bytes = uapi.IommuIovaRange.encode({ start: 0x10000n, last: 0x10fffn });
    program.task.memory.copyOut(ranges, bytes, bytes.length);
    const request = uapi.IommuIoasAllowIovas.encode({
      size: uapi.IommuIoasAllowIovas.size,
      ioas_id: Number(ioas),
      num_iovas: 1,
      allowed_iovas: BigInt(ranges),
    });
    expect(program.ioctlBytes(fd, uapi.IOMMU_IOAS_ALLOW_IOVAS, request)).toBe(0);
    expect(program.mapIoas(fd, ioas, memory, PAGE)).toBe(0x10000n);
    expect(program.mapIoas(fd, ioas, memory, PAGE)).toBe("ENOSPC");
    // a fixed address may lie elsewhere
    expect(program.mapIoas(fd, ioas, memory, PAGE, { iova: 0x40000n })).toBe(0x40000n);
  });
});

describe("copying", () => {
  test("more than is mapped", () => {
    program.mapIoas(fd, ioas, memory, PAGE, { iova: 0x10000n });
    expect(program.copy(fd, ioas, ioas, 0x10000n, 0x20000n, 2n * PAGE)).toBe("ENOENT");
  });

  test("a read-only mapping as a writeable one", () => {
    program.mapIoas(fd, ioas, memory, PAGE, { iova: 0x10000n, access: 4 });
    expect(program.copy(fd, ioas, ioas, 0x10000n, 0x20000n, PAGE)).toBe("EPERM");
  });
});

describe("options", () => {
  const [SET, GET] = [0, 1];
  const [LIMIT, HUGE] = [0, 1];

  test("of the limit are set before there are objects, by who may", () => {
    expect(program.option(fd, LIMIT, SET, 0, 1n)).toBe("EBUSY");
    program.destroy(fd, ioas);
    expect(program.option(fd, LIMIT, SET, 0, 2n)).toBe("EINVAL");
    expect(program.option(fd, LIMIT, SET, 1, 1n)).toBe("EOPNOTSUPP");
    expect(program.option(fd, LIMIT, SET, 0, 1n)).toBe(1);
    expect(program.option(fd, LIMIT, GET, 0)).toBe(1);
    program.task.capabilities.delete(CAP_SYS_RESOURCE);
    expect(program.option(fd, LIMIT, SET, 0, 0n)).toBe("EPERM");
  });

  test("of large pages belong to an address space", () => {
    expect(program.option(fd, HUGE, GET, Number(ioas))).toBe(1);
    expect(program.option(fd, HUGE, SET, Number(ioas), 0n)).toBe(0);
    expect(program.option(fd, HUGE, GET, Number(ioas))).toBe(0);
    expect(program.mapIoas(fd, ioas, memory, 1n, { iova: 1n })).toBe("EINVAL");
    expect(program.option(fd, HUGE, SET, 99, 0n)).toBe("ENOENT");
    expect(program.option(fd, HUGE, 2, Number(ioas))).toBe("EOPNOTSUPP");
    expect(program.option(fd, 2, GET, Number(ioas))).toBe("EOPNOTSUPP");
  });

  test("of large pages cannot be turned off over mappings of part pages", () => {
    program.mapIoas(fd, ioas, memory, 1n, { iova: 1n });
    expect(program.option(fd, HUGE, SET, Number(ioas), 0n)).toBe("EADDRINUSE");
    expect(program.option(fd, HUGE, GET, Number(ioas))).toBe(1);
  });
});

test("a release knows the requests that it had", () => {
  const old = new IommufdProgram({ ...program.host.description, kernel: "6.12" });
  const iommufd = old.iommufd();
  const request = uapi.IommuIoasChangeProcess.encode({ size: uapi.IommuIoasChangeProcess.size });
  expect(old.ioctlBytes(iommufd, uapi.IOMMU_IOAS_CHANGE_PROCESS, request)).toBe("ENOTTY");
  expect(program.ioctlBytes(fd, uapi.IOMMU_IOAS_CHANGE_PROCESS, request)).toBe(0);
});

test("mappings of a process's memory do not change hands", () => {
  program.mapIoas(fd, ioas, memory, PAGE);
  const request = uapi.IommuIoasChangeProcess.encode({ size: uapi.IommuIoasChangeProcess.size });
  expect(program.ioctlBytes(fd, uapi.IOMMU_IOAS_CHANGE_PROCESS, request)).toBe("EINVAL");
});
