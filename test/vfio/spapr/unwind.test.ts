import { describe, expect, test } from "vitest";
import { DeviceClock } from "../../../src/devices/device-clock.ts";
import { DEVICE_KINDS } from "../../../src/devices/kinds.ts";
import { FunctionErrors } from "../../../src/devices/pci/function-errors.ts";
import { DmaGroup } from "../../../src/iommu/dma-group.ts";
import { Ioda2Endpoint } from "../../../src/iommu/tce/ioda2.ts";
import type { TceWindow } from "../../../src/iommu/tce/tce-window.ts";
import { fail, KernelError } from "../../../src/kernel/errors.ts";
import { PROT_READ, PROT_WRITE } from "../../../src/kernel/model-areas.ts";
import { ModelTask } from "../../../src/kernel/model-task.ts";
import { Release } from "../../../src/kernel/releases.ts";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import { VFIO_IOMMU_SPAPR_TCE_CREATE, VfioIommuSpaprTceCreate } from "../../../src/uapi/vfio-spapr.ts";
import { SpaprBackend } from "../../../src/vfio/spapr/driver.ts";
import { TceContainer } from "../../../src/vfio/spapr/tce-container.ts";
import { Program } from "../program.ts";
import { create, locked, register, remove } from "./calls.ts";

/** An endpoint whose firmware refuses a window when it is told to, and that remembers what it was programmed with. */
class Recorded extends Ioda2Endpoint {
  readonly programmed: (TceWindow | undefined)[] = [undefined, undefined];
  refuses = false;

  override setWindow(slot: number, window: TceWindow): void {
    if (this.refuses) fail("EIO", "firmware refuses the window");
    this.programmed[slot] = window;
  }

  override unsetWindow(slot: number): void {
    this.programmed[slot] = undefined;
  }
}

const FACTS = { dma32Start: 0n, dma32Size: 2n ** 31n, maxDynamicWindows: 2, levels: 5, pageSizes: 0x4021_1000n };
const GROUPS = 4;

function containerOfFour() {
  const task = new ModelTask({ pageSize: 65536 });
  const struct = task.memory.mmap({ length: 65536, protection: PROT_READ | PROT_WRITE });
  const context = {
    release: new Release("6.12"),
    arch: "ppc64le" as const,
    errors: new FunctionErrors(false),
    pageSize: 65536,
    clock: new DeviceClock(),
    kinds: DEVICE_KINDS,
    numberParameter: () => 0,
    booleanParameter: () => false,
    warn: () => {},
  };
  const endpoints = new Map<DmaGroup, Recorded>();
  const container = new TceContainer(context, true);
  const backend = new SpaprBackend(container, { checkExtension: () => 1 }, (group) => endpoints.get(group));
  for (let id = 0; id < GROUPS; id++) {
    const iommuGroup = { id, unit: undefined, kind: "iommu" as const, reservedRegions: [], deviceNames: [] };
    const group = new DmaGroup(iommuGroup, { in: () => [] });
    endpoints.set(group, new Recorded(FACTS, 65536));
    backend.attach(task, group);
  }
  const createWindow = (size: bigint) => {
    const bytes = VfioIommuSpaprTceCreate.encode({ argsz: 40, page_shift: 16, window_size: size, levels: 1 });
    task.memory.copyOut(struct, bytes, bytes.length);
    try {
      return backend.ioctl(task, VFIO_IOMMU_SPAPR_TCE_CREATE, struct);
    } catch (error) {
      return (error as KernelError).code;
    }
  };
  return { task, backend, container, endpoints, createWindow };
}

describe("a window that one of several groups refuses", () => {
  // newest first: the number is how many groups are programmed before the refusal
  test.each([0, 1, 2, 3])("after %i have it is taken back from all", (before) => {
    const { task, backend, container, endpoints, createWindow } = containerOfFour();
    container.defaultPending = false;
    expect(createWindow(2n ** 30n)).toBe(0);
    const first = container.windows[0];
    const charged = task.memory.lockedPages;
    const all = [...endpoints.values()].reverse();
    all[before]!.refuses = true;
    expect(createWindow(2n ** 32n)).toBe("EIO");
    expect(task.memory.lockedPages).toBe(charged);
    expect(container.windows).toEqual([first, undefined]);
    for (const endpoint of all) expect(endpoint.programmed).toEqual([first, undefined]);
    all[before]!.refuses = false;
    expect(createWindow(2n ** 32n)).toBe(0);
    for (const endpoint of all) expect(endpoint.programmed).toEqual(container.windows);
    for (const group of endpoints.keys()) backend.detach(group);
    backend.release();
    for (const endpoint of all) expect(endpoint.programmed).toEqual([undefined, undefined]);
    expect(task.memory.lockedPages).toBe(0);
  });

  test("and a default window stays due", () => {
    const { task, container, endpoints, createWindow } = containerOfFour();
    const oldest = [...endpoints.values()][0]!;
    oldest.refuses = true;
    expect(createWindow(2n ** 30n)).toBe("EIO");
    expect(container.defaultPending).toBe(true);
    expect(task.memory.lockedPages).toBe(0);
    oldest.refuses = false;
    expect(createWindow(2n ** 30n)).toBe(0);
    expect(container.windows[1]!.startAddress).toBe(1n << 59n);
  });

  test("a group that comes later and refuses leaves the others as they are", () => {
    const { task, backend, container, endpoints, createWindow } = containerOfFour();
    createWindow(2n ** 30n);
    const iommuGroup = { id: 9, unit: undefined, kind: "iommu" as const, reservedRegions: [], deviceNames: [] };
    const late = new DmaGroup(iommuGroup, { in: () => [] });
    const endpoint = new Recorded(FACTS, 65536);
    endpoint.refuses = true;
    endpoints.set(late, endpoint);
    expect(() => backend.attach(task, late)).toThrow(KernelError);
    expect(container.groups.map(({ group }) => group)).not.toContain(late);
    expect(endpoint.programmed).toEqual([undefined, undefined]);
  });
});

describe("in a partition, where a window belongs to one group", () => {
  test("two groups get no window, and one of them gets it when the other has left", () => {
    const program = new Program(readyMadeHost("pseries")!);
    const { container } = program.container(0, 7);
    const second = program.open("/dev/vfio/1");
    expect(program.setContainer(second, container)).toBe(0);
    const memory = program.memory(65536);
    register(program, container, memory, 65536);
    expect(program.map(container, 0n, memory, 65536n)).toBe("EPERM");
    expect(create(program, container, 16, 2n ** 30n)).toBe("EPERM");
    expect(locked(program)).toBe(65536);
    expect(program.unsetContainer(second)).toBe(0);
    expect(remove(program, container, 0n)).toBe(0);
    expect(create(program, container, 16, 2n ** 30n)).toBe(1n << 59n);
  });
});
