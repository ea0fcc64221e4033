import { beforeEach, describe, expect, test } from "vitest";
import { CAP_IPC_LOCK } from "../../src/kernel/task.ts";
import { parseCapabilityChain } from "../../src/uapi/capability-chain.ts";
import { VFIO_SET_IOMMU } from "../../src/uapi/vfio.ts";
import { VfioIommuType1Info } from "../../src/uapi/vfio-type1.ts";
import type { Result } from "../vfio/program.ts";
import { COMPAT_HOST, HOST, IommufdProgram } from "./iommufd-program.ts";

const PAGE = 4096n;
const DEVICE = "0000:05:00.0";

let program: IommufdProgram;
let memory: number;

beforeEach(() => {
  program = new IommufdProgram(COMPAT_HOST);
  memory = program.memory(64 * 4096);
});

/** The kinds of capabilities that GET_INFO lists. */
function capabilities(container: Result): number[] {
  const info = program.info(container);
  const { argsz, cap_offset } = VfioIommuType1Info.decode(info);
  return parseCapabilityChain(info.subarray(0, argsz), cap_offset, VfioIommuType1Info.size).map(({ id }) => id);
}

describe("a container that is iommufd's", () => {
  test("limits mappings only once a device is open", () => {
    const { container, group } = program.container(20);
    expect(VfioIommuType1Info.decode(program.info(container)).iova_pgsizes).toBe(2n ** 64n - PAGE);
    expect(capabilities(container)).toEqual([3, 1]);
    expect(program.map(container, 0xfee0_0000n, memory, PAGE)).toBe(0);
    expect(program.deviceFd(group, DEVICE)).toBe("EADDRINUSE");
    expect(program.reason).toContain("the mapping 0xfee00000-0xfee00fff overlaps the reserved range");
    expect(program.unmap(container, 0xfee0_0000n, PAGE)).toBe(PAGE);
    const device = program.deviceFd(group, DEVICE);
    expect(program.map(container, 0xfee0_0000n, memory, PAGE)).toBe("EINVAL");
    program.close(device);
    expect(program.map(container, 0xfee0_0000n, memory, PAGE)).toBe(0);
  });

  test("has no address space before a group is in it", () => {
    const container = program.open("/dev/vfio/vfio");
    expect(program.ioctl(container, VFIO_SET_IOMMU, 3)).toBe("ENODEV");
    expect(program.map(container, 0n, memory, PAGE)).toBe("ENODEV");
    expect(program.unmap(container, 0n, PAGE)).toBe("ENODEV");
  });

  test("of type 2 unmaps whole mappings", () => {
    const { container } = program.container(20);
    program.map(container, 0n, memory, 2n * PAGE);
    program.map(container, 0x10000n, memory, 4n * PAGE);
    expect(program.unmap(container, PAGE, PAGE)).toBe("ENOENT");
    // what comes before the mapping that would be cut is gone
    expect(program.unmap(container, 0n, 0x11000n)).toBe("ENOENT");
    expect(program.unmap(container, 0n, 2n * PAGE)).toBe(0n);
    expect(program.unmap(container, 0x10000n, 4n * PAGE)).toBe(4n * PAGE);
  });

  test("of type 1 splits mappings, and lets their pages go one by one", () => {
    program.task.capabilities.delete(CAP_IPC_LOCK);
    const { container, group } = program.container(20, 1);
    program.deviceFd(group, DEVICE);
    program.map(container, 0n, memory, 8n * PAGE);
    const counts = () => [program.task.memory.pinnedPages, program.task.memory.lockedPages];
    expect(counts()).toEqual([8, 8]);
    expect(program.unmap(container, 2n * PAGE, 3n * PAGE)).toBe(3n * PAGE);
    expect(counts()).toEqual([5, 5]);
    expect(program.unmap(container, 0n, 3n * PAGE)).toBe(2n * PAGE);
    expect(counts()).toEqual([3, 3]);
    expect(program.map(container, 0n, memory, 5n * PAGE)).toBe(0);
    expect(program.unmap(container, 0n, 0n, 2)).toBe(8n * PAGE);
    expect(counts()).toEqual([0, 0]);
    expect(program.task.memory.pinCount).toBe(0);
  });

  test("keeps mappings and devices when groups leave", () => {
    const { container, group } = program.container(20);
    program.map(container, 0n, memory, 4n * PAGE);
    const device = program.deviceFd(group, DEVICE);
    expect(program.unsetContainer(group)).toBe(0);
    expect(program.task.memory.pinnedPages).toBe(4);
    // the device still owns the group
    const other = program.open("/dev/vfio/vfio");
    expect(program.setContainer(group, other)).toBe(0);
    expect(program.unsetContainer(group)).toBe(0);
    program.close(device);
    expect(program.task.memory.pinnedPages).toBe(0);
    expect(program.unmap(container, 0n, 4n * PAGE)).toBe(4n * PAGE);
  });

  test("lives as long as something uses it", () => {
    const { container, group } = program.container(20);
    program.map(container, 0n, memory, 4n * PAGE);
    const device = program.deviceFd(group, DEVICE);
    program.close(container);
    program.close(group);
    expect(program.task.memory.pinnedPages).toBe(4);
    program.close(device);
    expect([program.task.memory.pinnedPages, program.task.memory.pinCount]).toEqual([0, 0]);
  });
});

test("a group can be in /dev/iommu where VFIO has its own container", () => {
  program = new IommufdProgram(HOST);
  memory = program.memory(64 * 4096);
  const fd = program.iommufd();
  const group = program.open("/dev/vfio/20");
  expect(program.setContainer(group, fd)).toBe(0);
  expect(program.setContainer(group, fd)).toBe("EINVAL");
  expect(program.ioctl(fd, VFIO_SET_IOMMU, 3)).toBe(0);
  expect(program.deviceFd(group, DEVICE)).toBeTypeOf("number");
  // VFIO's requests and iommufd's own work on the same mappings
  expect(program.map(fd, 0n, memory, PAGE)).toBe(0);
  expect(program.unmapIoas(fd, 1)).toBe(PAGE);
});
