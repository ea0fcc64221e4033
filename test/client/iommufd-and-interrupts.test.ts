import { setTimeout as pause } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { Container } from "../../src/client/container.ts";
import type { Device } from "../../src/client/device.ts";
import { findGroup } from "../../src/client/find-group.ts";
import { Group } from "../../src/client/group.ts";
import { Iommufd } from "../../src/client/iommufd.ts";
import { ModelTransport } from "../../src/client/model-transport.ts";
import { openDevice } from "../../src/client/open-device.ts";
import { SystemTransport } from "../../src/client/system-transport.ts";
import { type EventFd, SystemCallError, type Transport } from "../../src/client/transport.ts";
import { Host } from "../../src/host/host.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { IOMMU_OPTION_HUGE_PAGES } from "../../src/uapi/iommufd.ts";
import { IOMMU_HW_INFO_TYPE_INTEL_VTD, IOMMU_HWPT_ALLOC_DIRTY_TRACKING } from "../../src/uapi/iommufd-hwpt.ts";
import { finished, ROOT, UVFIO } from "../cli/uvfio.ts";

/** The same tests over both transports, as in both-transports.test.ts, on the host whose devices work. */
const isNested = process.env.UVFIO_TRANSPORT === "system";
const transport: Transport = isNested ? new SystemTransport() : new ModelTransport(new Host(readyMadeHost("lab")!));
const EDU = "0000:03:00.0";
const DMA_ENGINE = "0000:01:00.0";
const PAGE = 4096n;
const TYPE1v2 = 3;
const CONFIG_REGION = 7;
const MSI = 1;

function failure(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof SystemCallError) return error.code;
    throw error;
  }
  return "no error";
}

/** What arrives within a second: over real system calls the device is another thread's. */
async function arrived(event: EventFd): Promise<bigint> {
  for (let tries = 0; tries < 100; tries++) {
    const count = event.take();
    if (count > 0n) return count;
    await pause(10);
  }
  return 0n;
}

/** Has the edu device copy from one IOVA to another through its buffer, with an interrupt after each half. */
async function copy(device: Device, event: EventFd, from: bigint, to: bigint, size: bigint): Promise<void> {
  const BUFFER = 0x40000n;
  const write = (offset: number, value: bigint) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    device.writeRegion(0, offset, bytes);
  };
  for (const [source, target, command] of [
    [from, BUFFER, 0b101n],
    [BUFFER, to, 0b111n],
  ] as const) {
    write(0x80, source);
    write(0x88, target);
    write(0x90, size);
    write(0x98, command);
    expect(await arrived(event)).toBe(1n);
    device.writeRegion(0, 0x64, device.readRegion(0, 0x24, 4));
  }
}

function enableBusMaster(device: Device): void {
  device.writeRegion(CONFIG_REGION, 4, Uint8Array.of(6, 0));
}

describe(`iommufd, ${isNested ? "real system calls" : "model in this process"}`, () => {
  const iommufd = Iommufd.open(transport);
  const device = openDevice(transport, EDU);
  afterAll(() => {
    device.close();
    iommufd.close();
  });

  test("opens devices by their own nodes only where they have one", () => {
    expect(failure(() => openDevice(transport, "0000:00:02.0"))).toBe("ENOENT");
    expect(failure(() => openDevice(transport, "0000:09:00.0"))).toBe("ENOENT");
    expect(failure(() => device.info())).toBe("EINVAL");
  });

  test("binds a device, tells of its IOMMU, and lets it make DMA and raise interrupts", async () => {
    const id = device.bindIommufd(iommufd);
    expect(device.info().numRegions).toBe(9);
    const info = iommufd.hwInfo(id);
    expect([info.type, info.data.length]).toEqual([IOMMU_HW_INFO_TYPE_INTEL_VTD, 24]);
    const ioas = iommufd.allocIoas();
    expect(ioas.ranges().ranges).toEqual([{ start: 0n, last: 2n ** 64n - 1n }]);
    expect(device.attach(ioas)).toBeGreaterThan(ioas.id);
    expect(ioas.ranges()).toEqual({
      ranges: [
        { start: 0n, last: 0xfedf_ffffn },
        { start: 0xfef0_0000n, last: 2n ** 39n - 1n },
      ],
      alignment: PAGE,
    });

    using memory = transport.allocate(2 * Number(PAGE));
    using event = transport.eventfd();
    expect(event.take()).toBe(0n);
    enableBusMaster(device);
    device.setIrqs({ index: MSI, events: [event] });
    const iova = ioas.map({ memory });
    memory.bytes.fill(7, 0, 64);
    await copy(device, event, iova, iova + PAGE, 64n);
    expect([...memory.bytes.subarray(4096, 4096 + 65)]).toEqual([...Array(64).fill(7), 0]);

    expect(failure(() => ioas.destroy())).toBe("EBUSY");
    expect(ioas.unmap({ iova, size: 2n * PAGE })).toBe(2n * PAGE);
    expect(failure(() => ioas.unmap({ iova, size: PAGE }))).toBe("ENOENT");
    device.setIrqs({ index: MSI, count: 0 });
    device.detach();
    ioas.destroy();
  });

  test("maps at fixed places, copies between address spaces, and keeps ranges allowed", () => {
    using memory = transport.allocate(4 * Number(PAGE));
    const [one, two] = [iommufd.allocIoas(), iommufd.allocIoas()];
    expect(one.map({ memory, iova: 0x10_0000n, size: 2n * PAGE })).toBe(0x10_0000n);
    expect(failure(() => one.map({ memory, iova: 0x10_0000n, size: PAGE }))).toBe("EEXIST");
    expect(two.copy({ from: one, source: 0x10_1000n, size: PAGE, iova: 0x20_0000n, write: false })).toBe(0x20_0000n);
    expect(failure(() => two.copy({ from: one, source: 0x30_0000n, size: PAGE }))).toBe("ENOENT");
    two.allowIovas([{ start: 0x100_0000n, last: 0x1ff_ffffn }]);
    const chosen = two.map({ memory, size: PAGE });
    expect(chosen >= 0x100_0000n && chosen < 0x200_0000n).toBe(true);
    // 6.13 has it first
    expect(failure(() => two.mapFile({ file: 999, offset: 0n, size: PAGE }))).toBe("ENOTTY");
    expect(iommufd.option(IOMMU_OPTION_HUGE_PAGES, one)).toBe(1n);
    iommufd.setOption(IOMMU_OPTION_HUGE_PAGES, 0n, iommufd.allocIoas());
    expect(failure(() => iommufd.compatIoas())).toBe("ENODEV");
    iommufd.setCompatIoas(two);
    expect(iommufd.compatIoas().id).toBe(two.id);
    iommufd.setCompatIoas(undefined);
    expect(failure(() => iommufd.compatIoas())).toBe("ENODEV");
    expect([one.unmapAll(), two.unmapAll()]).toEqual([2n * PAGE, 2n * PAGE]);
    one.destroy();
    expect(failure(() => one.destroy())).toBe("ENOENT");
  });

  test("tracks which pages a device has written", async () => {
    using memory = transport.allocate(8 * Number(PAGE));
    using other = openDevice(transport, DMA_ENGINE);
    const id = other.bindIommufd(iommufd);
    const ioas = iommufd.allocIoas();
    const hwpt = iommufd.allocHwpt({ device: id, parent: ioas, flags: IOMMU_HWPT_ALLOC_DIRTY_TRACKING });
    expect(other.attach(hwpt)).toBe(hwpt.id);
    device.attach(hwpt);
    ioas.map({ memory, iova: 0n });
    hwpt.setDirtyTracking(true);
    const range = { iova: 0n, size: 8n * PAGE, pageSize: PAGE };
    expect([...hwpt.dirtyBitmap(range).dirtyPages()]).toEqual([]);
    using event = transport.eventfd();
    device.setIrqs({ index: MSI, events: [event] });
    await copy(device, event, 0n, 5n * PAGE, 16n);
    expect([...hwpt.dirtyBitmap({ ...range, keep: true }).dirtyPages()]).toEqual([5n * PAGE]);
    expect([...hwpt.dirtyBitmap(range).dirtyPages()]).toEqual([5n * PAGE]);
    expect([...hwpt.dirtyBitmap(range).dirtyPages()]).toEqual([]);
    hwpt.setDirtyTracking(false);
    expect(failure(() => hwpt.invalidate({ type: 0, entries: new Uint8Array(24), entrySize: 24 }))).toBe("EINVAL");
    device.detach();
    expect(failure(() => hwpt.destroy())).toBe("EBUSY");
  });
});

describe(`interrupts, ${isNested ? "real system calls" : "model in this process"}`, () => {
  test("go to eventfds, by vector and by hand", () => {
    using container = Container.open(transport);
    using group = Group.open(transport, findGroup(transport, EDU));
    group.setContainer(container);
    container.setIommu(TYPE1v2);
    using device = group.getDevice(EDU);
    expect(device.irqInfo(MSI).count).toBe(1);
    using event = transport.eventfd();
    device.setIrqs({ index: MSI, events: [event] });
    device.setIrqs({ index: MSI });
    device.setIrqs({ index: MSI, flags: [true] });
    device.setIrqs({ index: MSI, flags: [false] });
    expect(event.take()).toBe(2n);
    event.add(5n);
    expect(event.take()).toBe(5n);
    device.setIrqs({ index: MSI, events: [null] });
    device.setIrqs({ index: MSI });
    expect(event.take()).toBe(0n);
    expect(failure(() => device.setIrqs({ index: MSI, action: "mask", count: 1 }))).toBe("ENOTTY");
    expect(failure(() => device.setIrqs({ index: MSI, start: 1, events: [event] }))).toBe("EINVAL");
    expect(() => device.setIrqs({ index: MSI, count: 1, flags: [true] })).toThrow(TypeError);
    device.setIrqs({ index: MSI, count: 0 });
  });

  test("closing twice closes once", () => {
    const event = transport.eventfd();
    const other = transport.eventfd();
    event.close();
    using taken = transport.eventfd();
    expect(taken.fd).toBe(event.fd);
    event.close();
    taken.add(1n);
    expect(taken.take()).toBe(1n);
    const container = Container.open(transport);
    container.close();
    using again = Container.open(transport);
    container.close();
    expect(again.apiVersion()).toBe(0);
    other.close();
  });
});

test.skipIf(isNested)("the same tests pass as a program under uvfio run", () => {
  const vitest = ["node_modules/vitest/vitest.mjs", "run", "test/client/iommufd-and-interrupts.test.ts"];
  const args = [UVFIO, "run", "-m", "lab", "--", process.execPath, ...vitest];
  const run = finished("env", ["UVFIO_TRANSPORT=system", "NO_COLOR=1", process.execPath, ...args], { cwd: ROOT });
  expect(run.stdout).toMatch(/Tests\s+6 passed/);
  expect(run.status).toBe(0);
});
