import { describe, expect, test } from "vitest";
import type { DmaGroup } from "../../../src/iommu/dma-group.ts";
import type { GroupDescription, HostDescription } from "../../../src/machine/host-description.ts";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import { VFIO_CHECK_EXTENSION, VFIO_UPDATE_VADDR } from "../../../src/uapi/vfio.ts";
import type { MediatedAccess } from "../../../src/vfio/backend.ts";
import type { Container } from "../../../src/vfio/container.ts";
import { ranges } from "../info.ts";
import { Program, type Result } from "../program.ts";

const intel: HostDescription = readyMadeHost("intel")!;
const groupOf = (matches: (group: GroupDescription) => boolean) => intel.groups.find(matches)!.id;
const PCI = groupOf((group) => group.devices.some((device) => device.bus === "pci" && device.bdf === "0000:00:1b.0"));
const MDEV = groupOf((group) => group.devices.some((device) => device.bus === "mdev"));
const MSI = 0xfee0_0000n;
const PAGE = 4096n;

/** The driver's side of a mediated device in a container, as the container's backend offers it. */
function driverOf(program: Program, container: Result): { access: MediatedAccess; group: DmaGroup } {
  const file = program.task.files.get(Number(container)) as Container;
  return { access: file.backend!.mediated!, group: file.groups[0]! };
}

describe("a container with a mediated device alone", () => {
  test("has no list of ranges and maps anything, even where interrupts go and memory is not", () => {
    const program = new Program(intel);
    const { container } = program.container(MDEV);
    expect(ranges(program.info(container))).toBeUndefined();
    expect(program.map(container, MSI, 0x10_0000, PAGE)).toBe(0);
    expect(program.map(container, 2n ** 60n, 0xffff_8000_0000_0000n, PAGE)).toBe(0);
    expect(program.task.memory.lockedPages).toBe(0);
    expect(program.ioctl(container, VFIO_CHECK_EXTENSION, VFIO_UPDATE_VADDR)).toBe(0);
    expect(program.unmap(container, 0n, 0n, 2)).toBe(2n * PAGE);
  });

  test("gets its list when a PCI device joins, which must fit what is mapped", () => {
    const program = new Program(intel);
    const { container } = program.container(MDEV);
    const memory = program.memory(65536);
    const pci = program.open(`/dev/vfio/${PCI}`);
    expect(program.map(container, MSI, memory, PAGE)).toBe(0);
    expect(program.setContainer(pci, container)).toBe("EINVAL");
    expect(program.reason).toMatch(/0xfee00000-0xfee00fff overlaps the reserved range 0xfee00000-0xfeefffff \(msi\)/);
    expect(ranges(program.info(container))).toBeUndefined();
    expect(program.unmap(container, MSI, PAGE)).toBe(PAGE);
    expect(program.setContainer(pci, container)).toBe(0);
    expect(ranges(program.info(container))?.length).toBe(2);
    expect(program.map(container, MSI, memory, PAGE)).toBe("EINVAL");
  });

  test("pins what is mapped when a PCI device joins, all of it or nothing", () => {
    const program = new Program(intel, { memlock: 3 * 4096, capabilities: [] });
    const { container } = program.container(MDEV);
    const memory = program.memory(65536);
    const pci = program.open(`/dev/vfio/${PCI}`);
    for (const at of [0n, 1n, 2n, 3n]) expect(program.map(container, at * 0x10000n, memory, PAGE)).toBe(0);
    expect(program.setContainer(pci, container)).toBe("ENOMEM");
    expect(program.task.memory.lockedPages).toBe(0);
    expect(program.task.memory.pinCount).toBe(0);
    program.task.memlock = 4 * 4096;
    expect(program.setContainer(pci, container)).toBe(0);
    expect(program.task.memory.lockedPages).toBe(4);
  });

  test("keeps mappings but not pins when the PCI device leaves, and then any IOVA is valid", () => {
    const program = new Program(intel);
    const { container } = program.container(MDEV);
    const pci = program.open(`/dev/vfio/${PCI}`);
    program.setContainer(pci, container);
    program.map(container, 0n, program.memory(65536), 16n * PAGE);
    expect(program.task.memory.lockedPages).toBe(16);
    expect(program.unsetContainer(pci)).toBe(0);
    expect(program.task.memory.lockedPages).toBe(0);
    expect(ranges(program.info(container))).toEqual([[0n, 2n ** 64n - 1n]]);
    expect(program.unmap(container, 0n, 16n * PAGE)).toBe(16n * PAGE);
  });
});

describe("the pages that a mediated device's driver pins", () => {
  function setup(options = {}) {
    const program = new Program(intel, options);
    const { container, group } = program.container(MDEV);
    const memory = program.memory(65536);
    program.map(container, 0n, memory, 16n * PAGE);
    const driver = driverOf(program, container);
    const unmapped: bigint[] = [];
    const listener = {
      dmaUnmap: (iova: bigint, size: bigint) => {
        unmapped.push(iova);
        driver.access.unpinPages(iova, Number(size / PAGE));
      },
    };
    driver.access.register(listener);
    const pin = (iova: bigint, count: number, write = true) =>
      program.attempt(() => {
        driver.access.pinPages(program.task, driver.group, iova, count, write);
        return 0;
      });
    return { program, container, group, memory, driver, unmapped, pin };
  }

  test("are charged once and given back", () => {
    const { program, pin, driver } = setup();
    expect(pin(0n, 4)).toBe(0);
    expect(pin(0n, 2)).toBe(0);
    expect(program.task.memory.lockedPages).toBe(4);
    driver.access.unpinPages(0n, 4);
    expect(program.task.memory.lockedPages).toBe(2);
    driver.access.unpinPages(0n, 2);
    expect(program.task.memory.lockedPages).toBe(0);
    expect(program.task.memory.pinCount).toBe(0);
  });

  test("are all or nothing", () => {
    const { program, container, memory, pin } = setup({ memlock: 2 * 4096, capabilities: [] });
    expect(pin(0n, 3)).toBe("ENOMEM");
    expect(pin(14n * PAGE, 3)).toBe("EINVAL");
    program.map(container, 0x100_0000n, memory, PAGE, 1);
    expect(pin(0x100_0000n, 1)).toBe("EPERM");
    expect(program.task.memory.lockedPages).toBe(0);
    expect(pin(0x100_0000n, 1, false)).toBe(0);
  });

  test("are let go before their mapping goes", () => {
    const { program, container, unmapped, pin } = setup();
    pin(0n, 2);
    expect(program.unmap(container, 0n, 16n * PAGE)).toBe(16n * PAGE);
    expect(unmapped).toEqual([0n]);
    expect(program.task.memory.lockedPages).toBe(0);
  });

  test("stay held when their container's file is closed, and go with the group", () => {
    const { program, container, group, pin } = setup();
    pin(0n, 2);
    program.close(container);
    expect(program.task.memory.lockedPages).toBe(2);
    program.close(group);
    expect(program.task.memory.lockedPages).toBe(0);
    expect(program.task.memory.pinCount).toBe(0);
  });

  test("alone are dirty, with what was written; pinned ones again and again, written ones once", () => {
    const { program, container, driver, pin } = setup();
    expect(program.dirty(container, "start")).toBe(0);
    const dirtyPages = () => program.dirtyBits(container, 0n, 16);
    expect(dirtyPages()).toEqual([]);
    pin(3n * PAGE, 1);
    driver.access.write(program.task, 5n * PAGE + 4095n, new Uint8Array(2));
    expect(dirtyPages()).toEqual([3, 5, 6]);
    expect(dirtyPages()).toEqual([3]);
    driver.access.unpinPages(3n * PAGE, 1);
    expect(dirtyPages()).toEqual([3]);
    expect(dirtyPages()).toEqual([]);
  });

  test("do not help when a PCI device is there too: it may have written anything", () => {
    const { program, container } = setup();
    program.setContainer(program.open(`/dev/vfio/${PCI}`), container);
    program.dirty(container, "start");
    expect(program.dirtyBits(container, 0n, 16)).toHaveLength(16);
  });
});
