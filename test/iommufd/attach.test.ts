import { beforeEach, describe, expect, test } from "vitest";
import { MemfdFile } from "../../src/kernel/model-memfd.ts";
import { CAP_IPC_LOCK } from "../../src/kernel/task.ts";
import * as uapi from "../../src/uapi/iommufd.ts";
import { VFIO_DEVICE_GET_INFO } from "../../src/uapi/vfio-device.ts";
import { HOST, IommufdProgram } from "./iommufd-program.ts";

const PAGE = 4096n;
/** Alone in its group; two that share one. */
const [ALONE, FIRST, SECOND] = ["/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio1", "/dev/vfio/devices/vfio2"];

let program: IommufdProgram;
let fd: number | string;
let memory: number;

beforeEach(() => {
  program = new IommufdProgram();
  fd = program.iommufd();
  memory = program.memory(64 * 4096);
});

describe("a device's own node", () => {
  test("does nothing before it is bound", () => {
    const device = program.open(ALONE);
    expect(program.ioctl(device, VFIO_DEVICE_GET_INFO)).toBe("EINVAL");
    expect(program.attach(device, 1)).toBe("EINVAL");
    expect(program.reason).toContain("VFIO_DEVICE_BIND_IOMMUFD");
    expect(program.bind(device, fd)).toBe(1);
    expect(program.ioctl(device, VFIO_DEVICE_GET_INFO)).toBe("EFAULT");
  });

  test("takes an iommufd only", () => {
    const device = program.open(ALONE);
    expect(program.bind(device, 99)).toBe("EBADF");
    expect(program.bind(device, -1)).toBe("EINVAL");
    expect(program.bind(device, device)).toBe("EBADFD");
  });

  test("and its group's exclude each other", () => {
    const device = program.open(ALONE);
    const group = program.open("/dev/vfio/20");
    expect(program.bind(device, fd)).toBe("EBUSY");
    program.close(group);
    expect(program.bind(device, fd)).toBe(1);
    expect(program.open("/dev/vfio/20")).toBe("EBUSY");
    program.close(device);
    expect(program.open("/dev/vfio/20")).toBeTypeOf("number");
  });

  test("is one user's at a time", () => {
    const [device, again] = [program.open(ALONE), program.open(ALONE)];
    expect(program.bind(device, fd)).toBe(1);
    expect(program.bind(device, fd)).toBe("EINVAL");
    expect(program.bind(again, fd)).toBe("EINVAL");
    program.close(device);
    expect(program.bind(again, fd)).toBe(1);
  });

  test("is gone without its driver", () => {
    program.host.binding.unbind("vfio-pci", "0000:05:00.0");
    expect(program.open(ALONE)).toBe("ENOENT");
    expect(program.host.deviceNodes().map(({ path }) => path)).not.toContain(ALONE);
    program.host.binding.bind("vfio-pci", "0000:05:00.0");
    expect(program.open(ALONE)).toBeTypeOf("number");
  });
});

describe("the devices of a group", () => {
  test("belong to one iommufd", () => {
    const [first, second] = [program.open(FIRST), program.open(SECOND)];
    const other = program.iommufd();
    expect(program.bind(first, fd)).toBe(1);
    expect(program.bind(second, other)).toBe("EPERM");
    expect(program.reason).toMatch(/^group 21 belongs to the iommufd of process .+, pid \d+$/);
    expect(program.bind(second, fd)).toBe(2);
  });

  test("are attached to one page table, and move together", () => {
    const [first, second] = [program.open(FIRST), program.open(SECOND)];
    program.bind(first, fd);
    program.bind(second, fd);
    const [one, two] = [program.ioas(fd), program.ioas(fd)];
    const hwpt = program.attach(first, one);
    expect(program.attach(second, two)).toBe("EINVAL");
    expect(program.attach(second, one)).toBe(hwpt);
    const moved = program.attach(first, two);
    expect(moved).not.toBe(hwpt);
    // the page table that was made for the first attach went with its last user
    expect(program.destroy(fd, hwpt)).toBe("ENOENT");
    expect(program.destroy(fd, one)).toBe(0);
    expect(program.attach(second, two)).toBe(moved);
  });
});

describe("an attach", () => {
  let device: number | string;
  let ioas: number | string;

  beforeEach(() => {
    device = program.open(ALONE);
    program.bind(device, fd);
    ioas = program.ioas(fd);
  });

  test("limits what can be mapped, and a detach gives it back", () => {
    program.attach(device, ioas);
    expect(program.mapIoas(fd, ioas, memory, PAGE, { iova: 0xfee0_0000n })).toBe("EINVAL");
    expect(program.reason).toBe(
      "iova 0xfee00000-0xfee00fff overlaps the reserved range 0xfee00000-0xfeefffff (msi) of 0000:05:00.0 (group 20)",
    );
    expect(program.mapIoas(fd, ioas, memory, PAGE, { iova: 2n ** 39n })).toBe("EINVAL");
    expect(program.mapIoas(fd, ioas, memory, 100n, { iova: 0n })).toBe("EINVAL");
    program.detach(device);
    expect(program.mapIoas(fd, ioas, memory, 100n, { iova: 0xfee0_0000n })).toBe(0xfee0_0000n);
  });

  test.each([
    ["in the interrupt window", 0xfee0_0000n, PAGE],
    ["beyond the aperture", 2n ** 39n, PAGE],
    ["of a part page", 0x1000n, 100n],
  ])("fails over a mapping %s and changes nothing", (_where, iova, length) => {
    program.mapIoas(fd, ioas, memory, length, { iova });
    expect(program.attach(device, ioas)).toBe("EADDRINUSE");
    expect(program.task.memory.pinnedPages).toBe(0);
    expect(program.unmapIoas(fd, ioas)).toBe(length);
    // the id of the page table that came to nothing is free
    expect(program.attach(device, ioas)).toBe(3);
  });

  test("fails over memory that is gone, and holds nothing", () => {
    program.mapIoas(fd, ioas, memory, 4n * PAGE, { iova: 0n });
    program.mapIoas(fd, ioas, memory, 4n * PAGE, { iova: 0x10000n });
    program.task.memory.munmap(memory + 4096, 4096);
    program.mapIoas(fd, ioas, memory + 2 * 4096, PAGE, { iova: 0x20000n });
    expect(program.attach(device, ioas)).toBe("EFAULT");
    expect(program.task.memory.pinCount).toBe(0);
    expect(program.task.memory.pinnedPages).toBe(0);
  });

  test("to what is no address space", () => {
    expect(program.attach(device, 99)).toBe("ENOENT");
    expect(program.attach(device, 1)).toBe("EINVAL");
    expect(program.destroy(fd, 1)).toBe("EBUSY");
  });

  test("counts pages once however often they are mapped together", () => {
    const other = program.ioas(fd);
    program.mapIoas(fd, ioas, memory, 4n * PAGE, { iova: 0n });
    program.attach(device, ioas);
    program.copy(fd, ioas, ioas, PAGE, 0x100000n, 2n * PAGE);
    program.copy(fd, ioas, other, 0n, 0n, 4n * PAGE);
    expect(program.task.memory.pinnedPages).toBe(4);
    program.unmapIoas(fd, ioas, 0n, 4n * PAGE);
    expect(program.task.memory.pinnedPages).toBe(2);
    program.attach(device, other);
    expect(program.task.memory.pinnedPages).toBe(4);
    program.unmapIoas(fd, other);
    expect(program.task.memory.pinnedPages).toBe(0);
    expect(program.task.memory.pinCount).toBe(0);
  });

  test("with page tables of the program's own", () => {
    const hwpt = program.hwpt(fd, 1, ioas);
    expect(hwpt).toBe(3);
    expect(program.attach(device, hwpt)).toBe(3);
    // an address space's own page table is another one
    expect(program.attach(device, ioas)).toBe(4);
    expect(program.destroy(fd, hwpt)).toBe(0);
    expect(program.destroy(fd, ioas)).toBe("EBUSY");
    expect(program.hwpt(fd, 1, ioas, 1)).toBe("EOPNOTSUPP");
    expect(program.hwpt(fd, 1, ioas, 2)).toBe("EOPNOTSUPP");
    expect(program.hwpt(fd, 1, 99)).toBe("EINVAL");
    expect(program.hwpt(fd, 99, ioas)).toBe("ENOENT");
  });

  test("keeps everything when the iommufd's descriptor is closed first", () => {
    program.mapIoas(fd, ioas, memory, 4n * PAGE, { iova: 0n });
    program.attach(device, ioas);
    program.close(fd);
    expect(program.task.memory.pinnedPages).toBe(4);
    program.close(device);
    expect(program.task.memory.pinnedPages).toBe(0);
    expect(program.task.memory.pinCount).toBe(0);
  });
});

describe("the limit of locked memory", () => {
  function limited(mode: "user" | "process"): { program: IommufdProgram; fd: number | string; ioas: number | string } {
    const own = new IommufdProgram(HOST, { memlock: 8 * 4096 });
    const iommufd = own.iommufd();
    if (mode === "process") own.option(iommufd, 0, 0, 0, 1n);
    const device = own.open(ALONE);
    own.bind(device, iommufd);
    const ioas = own.ioas(iommufd);
    own.attach(device, ioas);
    own.task.capabilities.delete(CAP_IPC_LOCK);
    return { program: own, fd: iommufd, ioas };
  }

  test.each(["user", "process"] as const)("counts for the %s", (mode) => {
    const { program: own, fd: iommufd, ioas } = limited(mode);
    const from = own.memory(16 * 4096);
    expect(own.mapIoas(iommufd, ioas, from, 6n * PAGE, { iova: 0n })).toBe(0n);
    expect(own.mapIoas(iommufd, ioas, from, 3n * PAGE, { iova: 0x10000n })).toBe("ENOMEM");
    expect(own.reason).toContain("RLIMIT_MEMLOCK is 0x8000 bytes");
    expect(own.reason).toContain(`counted by ${mode}`);
    expect(own.reason).toContain("IOMMU_OPTION_RLIMIT_MODE");
    expect(own.mapIoas(iommufd, ioas, from, 2n * PAGE, { iova: 0x10000n })).toBe(0x10000n);
    expect(own.task.memory.pinnedPages).toBe(8);
    expect(own.task.memory.lockedPages).toBe(mode === "process" ? 8 : 0);
    own.unmapIoas(iommufd, ioas);
    expect([own.task.memory.pinnedPages, own.task.memory.lockedPages, own.task.memory.pinCount]).toEqual([0, 0, 0]);
  });

  test("of a user counts in all processes", () => {
    const { program: own, fd: iommufd, ioas } = limited("user");
    own.mapIoas(iommufd, ioas, own.memory(8 * 4096), 6n * PAGE, { iova: 0n });
    // a fork: another memory, the same user and the same iommufd
    const child = own.task.fork();
    const bytes = uapi.IommuIoasMap.encode({
      size: uapi.IommuIoasMap.size,
      flags: 7,
      ioas_id: Number(ioas),
      user_va: BigInt(child.memory.mmap({ length: 4 * 4096, protection: 3 })),
      length: 3n * PAGE,
      iova: 0x10000n,
    });
    const at = child.memory.mmap({ length: 4096, protection: 3 });
    child.memory.copyOut(at, bytes, bytes.length);
    const call = () => child.files.get(Number(iommufd))!.ioctl(child, uapi.IOMMU_IOAS_MAP, at);
    expect(own.attempt(call)).toBe("ENOMEM");
  });
});

test("a memfd is mapped by its descriptor, and is found out when it is pinned", () => {
  const device = program.open(ALONE);
  program.bind(device, fd);
  const ioas = program.ioas(fd);
  const memfd = program.task.files.install(new MemfdFile(program.task.memory.memfd(4 * 4096)), false);
  const mapFile = (descriptor: number, start: bigint, iova: bigint, length = PAGE) =>
    program.ioctlBytes(
      fd,
      uapi.IOMMU_IOAS_MAP_FILE,
      uapi.IommuIoasMapFile.encode({
        size: uapi.IommuIoasMapFile.size,
        flags: 7,
        ioas_id: Number(ioas),
        fd: descriptor,
        start,
        length,
        iova,
      }),
    );
  expect(mapFile(99, 0n, 0n)).toBe("EBADF");
  expect(mapFile(memfd, 0n, 0n, 0n)).toBe("EINVAL");
  expect(mapFile(memfd, 2n ** 64n - 1n, 0n, PAGE)).toBe("EOVERFLOW");
  expect(mapFile(memfd, 4n * PAGE, 0x4000n)).toBe(0);
  expect(program.attach(device, ioas)).toBe("EINVAL");
  program.unmapIoas(fd, ioas);
  expect(mapFile(memfd, PAGE, 0x4000n, 2n * PAGE)).toBe(0);
  expect(program.attach(device, ioas)).toBe(3);
  expect(program.task.memory.pinnedPages).toBe(2);
  expect(mapFile(Number(fd), 0n, 0x8000n)).toBe("EINVAL");
});
