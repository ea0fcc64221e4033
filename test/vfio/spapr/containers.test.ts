import { describe, expect, test } from "vitest";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import { VFIO_CHECK_EXTENSION, VFIO_SET_IOMMU } from "../../../src/uapi/vfio.ts";
import {
  VFIO_EEH_PE_GET_STATE,
  VFIO_EEH_PE_OP,
  VFIO_IOMMU_DISABLE,
  VFIO_IOMMU_ENABLE,
  VFIO_IOMMU_SPAPR_TCE_GET_INFO,
  VfioEehPeOp,
  VfioIommuSpaprTceInfo,
} from "../../../src/uapi/vfio-spapr.ts";
import { Program } from "../program.ts";
import { create, locked, register, unmap, unregister } from "./calls.ts";

const PAGE = 65536;

describe("GET_INFO", () => {
  test.each([
    [16, 16],
    [31, 16],
    [32, 32],
    [64, 32],
  ])("with argsz %i writes %i bytes", (argsz, written) => {
    const program = new Program(readyMadeHost("power9")!);
    const { container } = program.container(0, 7);
    const bytes = new Uint8Array(64).fill(0xa5);
    new DataView(bytes.buffer).setUint32(0, argsz, true);
    expect(program.ioctlBytes(container, VFIO_IOMMU_SPAPR_TCE_GET_INFO, bytes)).toBe(0);
    expect(VfioIommuSpaprTceInfo.decode(bytes)).toMatchObject({ argsz, flags: 1, dma32_window_size: 0x8000_0000 });
    expect(bytes.findIndex((byte, at) => at >= 16 && byte === 0xa5)).toBe(written);
  });
});

describe("a process", () => {
  test("that is not the owner may do nothing, and its exit changes nothing", () => {
    const program = new Program(readyMadeHost("pseries")!);
    const { container } = program.container(0, 7);
    const memory = program.memory(PAGE);
    const child = program.task.fork();
    const call = (task: typeof child, request: number, arg = 0) =>
      program.attempt(() => child.files.get(Number(container))!.ioctl(task, request, arg));
    // nobody has it yet
    expect(call(child, 0x3b7a)).toBe("ENOTTY");
    register(program, container, memory, PAGE);
    expect(call(child, 0x3b7a)).toBe("EPERM");
    expect(call(child, VFIO_IOMMU_SPAPR_TCE_GET_INFO)).toBe("EPERM");
    expect(call(child, VFIO_CHECK_EXTENSION, 7)).toBe(1);
    child.exit();
    expect(program.map(container, 0n, memory, 4096n)).toBe(0);
  });

  test("shares its regions among its containers", () => {
    const program = new Program(readyMadeHost("power9")!);
    const first = program.container(0, 7);
    const second = program.container(1, 7);
    const memory = program.memory(PAGE);
    expect(register(program, first.container, memory, PAGE)).toBe(0);
    expect(register(program, second.container, memory, PAGE)).toBe(0);
    expect(locked(program)).toBe(PAGE);
    expect(program.map(second.container, 0n, memory, 4096n)).toBe(0);
    program.close(first.group);
    expect(program.task.memory.pinCount).toBe(1);
    program.close(second.group);
    expect(locked(program)).toBe(0);
    expect(program.task.memory.pinCount).toBe(0);
  });
});

describe("groups that leave", () => {
  test("empty the windows of those that stay", () => {
    const program = new Program(readyMadeHost("power9")!);
    const { container } = program.container(0, 7);
    const second = program.open("/dev/vfio/1");
    program.setContainer(second, container);
    const memory = program.memory(PAGE);
    register(program, container, memory, PAGE);
    program.map(container, 0n, memory, BigInt(PAGE));
    expect(program.unsetContainer(second)).toBe(0);
    // no mapping holds the region any more
    expect(unregister(program, container, memory, PAGE)).toBe(0);
    expect(program.task.memory.pinCount).toBe(0);
    expect(program.map(container, 0n, memory, 4096n)).toBe("EINVAL");
  });

  test("take everything along when they are the last", () => {
    const program = new Program(readyMadeHost("power9")!);
    const { container, group } = program.container(0, 7);
    register(program, container, program.memory(PAGE), PAGE);
    create(program, container, 16, 2n ** 32n);
    expect(program.unsetContainer(group)).toBe(0);
    expect(locked(program)).toBe(0);
    expect(program.setContainer(group, container)).toBe(0);
    expect(program.ioctl(container, VFIO_SET_IOMMU, 2)).toBe(0);
    expect(program.ioctl(container, VFIO_IOMMU_ENABLE)).toBe(0);
    expect(locked(program)).toBe(2 ** 31);
    expect(program.ioctl(container, VFIO_IOMMU_DISABLE)).toBe(0);
    expect(locked(program)).toBe(0);
  });
});

describe("the two versions", () => {
  test("refuse each other's requests", () => {
    const program = new Program(readyMadeHost("pseries")!);
    const v1 = program.container(0, 2).container;
    const v2 = program.container(1, 7).container;
    expect(register(program, v1, program.memory(PAGE), PAGE)).toBe("ENOTTY");
    expect(create(program, v1, 16, 2n ** 30n)).toBe("ENOTTY");
    expect(program.ioctl(v2, VFIO_IOMMU_ENABLE)).toBe("ENOTTY");
    expect(program.ioctl(v2, VFIO_IOMMU_DISABLE)).toBe("ENOTTY");
    expect(unmap(program, v2, 0n, 0n)).toBe("EPERM");
    expect(program.reason).toContain("VFIO_IOMMU_SPAPR_REGISTER_MEMORY comes first");
    expect(unmap(program, v1, 0n, 0n)).toBe("EPERM");
    expect(program.reason).toContain("VFIO_IOMMU_ENABLE comes first");
  });
});

describe("a limit on locked memory", () => {
  test("is inclusive", () => {
    const program = new Program(readyMadeHost("power9")!, { capabilities: [], memlock: 4 * PAGE });
    const { container } = program.container(0, 7);
    const memory = program.memory(8 * PAGE);
    expect(register(program, container, memory, 5 * PAGE)).toBe("ENOMEM");
    expect(program.reason).toContain("RLIMIT_MEMLOCK is 0x40000, 0x0 are locked");
    expect(register(program, container, memory, 4 * PAGE)).toBe(0);
    expect(register(program, container, memory + 4 * PAGE, PAGE)).toBe("ENOMEM");
  });
});

describe("EEH", () => {
  test.each([
    ["power9", 1, 0],
    ["pseries", 0, "ENODEV"],
  ])("on %s", (name, extension, state) => {
    const program = new Program(readyMadeHost(name)!);
    const { container } = program.container(0, 7);
    expect(program.ioctl(container, VFIO_CHECK_EXTENSION, 5)).toBe(extension);
    const bytes = VfioEehPeOp.encode({ argsz: 12, op: VFIO_EEH_PE_GET_STATE });
    expect(program.ioctlBytes(container, VFIO_EEH_PE_OP, bytes)).toBe(state);
  });
});
