import { afterAll, describe, expect, test } from "vitest";
import { Container } from "../../src/client/container.ts";
import { findGroup } from "../../src/client/find-group.ts";
import { Group } from "../../src/client/group.ts";
import { ModelTransport } from "../../src/client/model-transport.ts";
import { SystemTransport } from "../../src/client/system-transport.ts";
import { SystemCallError, type Transport } from "../../src/client/transport.ts";
import { Host } from "../../src/host/host.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { finished, ROOT, UVFIO } from "../cli/uvfio.ts";

/**
 * The same tests over both transports: here over the model in this process, and once more as a program under `uvfio run`, where they
 * make real system calls.
 */
const isNested = process.env.UVFIO_TRANSPORT === "system";
const transport: Transport = isNested ? new SystemTransport() : new ModelTransport(new Host(readyMadeHost("intel")!));
const DEVICE = "0000:00:1b.0";
const MDEV = "c08db5ed-05d3-4b39-b150-438a18bc698f";
const TYPE1v2 = 3;

function failure(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof SystemCallError) return error.code;
    throw error;
  }
  return "no error";
}

describe(`the typed client, ${isNested ? "real system calls" : "model in this process"}`, () => {
  const container = Container.open(transport);
  const group = Group.open(transport, findGroup(transport, DEVICE));
  const memory = transport.allocate(64 * 4096);
  afterAll(() => {
    memory.free();
    group.close();
    container.close();
  });

  test("asks what there is before an IOMMU is set", () => {
    expect(container.apiVersion()).toBe(0);
    expect(container.checkExtension(TYPE1v2)).toBe(true);
    expect(failure(() => container.getInfo())).toBe("EINVAL");
    expect(failure(() => container.setIommu(TYPE1v2))).toBe("EINVAL");
    expect(group.status()).toMatchObject({ viable: true, containerSet: false });
  });

  test("sets the container up once", () => {
    group.setContainer(container);
    container.setIommu(TYPE1v2);
    expect(failure(() => container.setIommu(TYPE1v2))).toBe("EINVAL");
    expect(failure(() => group.setContainer(container))).toBe("EINVAL");
    expect(group.status()).toMatchObject({ viable: true, containerSet: true });
    expect(failure(() => Group.open(transport, findGroup(transport, DEVICE)))).toBe("EBUSY");
  });

  test("reads ranges and capabilities as objects", () => {
    const info = container.getInfo();
    expect(info.pageSizes).toBe(0xffff_ffff_ffff_f000n);
    expect(info.dmaAvail).toBe(65535);
    expect(info.migration?.maxDirtyBitmapSize).toBe(2n ** 28n);
    expect(info.ranges).toEqual([
      { start: 0n, last: 0xfedf_ffffn },
      { start: 0xfef0_0000n, last: 2n ** 57n - 1n },
    ]);
  });

  test("maps, counts and unmaps", () => {
    container.map({ iova: 0x10_0000n, memory });
    expect(container.getInfo().dmaAvail).toBe(65534);
    expect(failure(() => container.map({ iova: 0x10_1000n, memory, size: 4096n }))).toBe("EEXIST");
    expect(failure(() => container.map({ iova: 0xfee0_0000n, memory }))).toBe("EINVAL");
    expect(failure(() => container.map({ iova: 0x800_0000n, vaddr: 0x1000n, size: 4096n }))).toBe("EFAULT");
    expect(failure(() => container.unmap({ iova: 0x10_0000n, size: 4096n }))).toBe("EINVAL");
    expect(container.unmap({ iova: 0n, size: 2n ** 32n })).toBe(64n * 4096n);
    expect(container.unmapAll()).toBe(0n);
  });

  test("reads the dirty bitmap: with a device that does not report, all that is mapped", () => {
    container.map({ iova: 0x20_0000n, memory, size: 16n * 4096n });
    container.startDirtyTracking();
    const dirty = container.dirtyBitmap({ iova: 0x20_0000n, size: 32n * 4096n });
    expect([...dirty.bytes.slice(0, 4)]).toEqual([0xff, 0xff, 0, 0]);
    container.stopDirtyTracking();
    container.unmapAll();
  });

  test("refuses names that are not in the group", () => {
    expect(failure(() => group.getDevice("0000:00:1f.0"))).toBe("ENODEV");
    const device = group.getDevice(DEVICE);
    expect(device.info().numRegions).toBe(9);
    expect(failure(() => group.unsetContainer())).toBe("EBUSY");
    device.close();
  });

  test("maps a device's registers, and sees there what read and write see", () => {
    const device = group.getDevice(DEVICE);
    const info = device.regionInfo(0);
    expect([info.size, info.flags]).toEqual([0x4000n, 7]);
    const mapping = device.mapRegion(0, { offset: 0x1000, length: 0x1000 });
    mapping.write(0x10, 4, 0x1234_5678n);
    expect([...device.readRegion(0, 0x1010, 4)]).toEqual([0x78, 0x56, 0x34, 0x12]);
    device.writeRegion(0, 0x1018, new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]));
    expect(mapping.read(0x18, 8)).toBe(0x0807_0605_0403_0201n);
    expect([mapping.read(0x18, 1), mapping.read(0x1a, 2), mapping.read(0x1c, 4)]).toEqual([1n, 0x0403n, 0x0807_0605n]);
    expect(() => mapping.read(0xffe, 4)).toThrow(RangeError);
    expect(() => mapping.read(0x11, 2)).toThrow(RangeError);
    // the mapping keeps the device open
    device.close();
    expect(mapping.read(0x10, 4)).toBe(0x1234_5678n);
    expect(failure(() => group.unsetContainer())).toBe("EBUSY");
    mapping.unmap();
    expect(() => mapping.read(0, 4)).toThrow(TypeError);
    const again = group.getDevice(DEVICE);
    expect(failure(() => again.mapRegion(7))).toBe("EINVAL");
    expect(failure(() => again.mapRegion(0, { length: 0x8000 }))).toBe("EINVAL");
    expect(failure(() => again.mapRegion(1, { length: 0x1000 }))).toBe("EINVAL");
    again.close();
  });

  test("opens the mediated device: a PCI function with its parent's identity", () => {
    const alone = Container.open(transport);
    const mdev = Group.open(transport, findGroup(transport, MDEV));
    mdev.setContainer(alone);
    alone.setIommu(TYPE1v2);
    const device = mdev.getDevice(MDEV);
    expect(device.info()).toMatchObject({ flags: 3, numRegions: 9, numIrqs: 5 });
    expect([...device.readRegion(7, 0, 4)]).toEqual([0x86, 0x80, 0x22, 0x16]);
    expect([0, 1, 2, 4, 6, 7, 8].map((index) => device.regionInfo(index).size)).toEqual([
      0x100_0000n,
      0n,
      0x1000_0000n,
      0n,
      0n,
      256n,
      0n,
    ]);
    expect(device.irqInfo(1)).toMatchObject({ count: 1 });
    expect(failure(() => device.irqInfo(2))).toBe("EINVAL");
    expect(failure(() => device.mapRegion(2, { length: 4096 }))).toBe("EINVAL");
    device.reset();
    device.close();
    mdev.close();
    alone.close();
  });

  test("keeps the ranges when a mediated device joins, and has none with it alone", () => {
    const alone = Container.open(transport);
    const mdev = Group.open(transport, findGroup(transport, MDEV));
    mdev.setContainer(alone);
    alone.setIommu(TYPE1v2);
    expect(alone.getInfo().ranges).toBeUndefined();
    alone.map({ iova: 0xfee0_0000n, memory, size: 4096n });
    mdev.unsetContainer();
    mdev.setContainer(container);
    expect(container.getInfo().ranges?.length).toBe(2);
    mdev.close();
    alone.close();
  });
});

test.skipIf(isNested)("the same tests pass as a program under uvfio run", () => {
  const args = [
    UVFIO,
    "run",
    "--",
    process.execPath,
    "node_modules/vitest/vitest.mjs",
    "run",
    "test/client/both-transports.test.ts",
  ];
  const run = finished("env", ["UVFIO_TRANSPORT=system", "NO_COLOR=1", process.execPath, ...args], { cwd: ROOT });
  expect(run.stdout).toMatch(/Tests\s+9 passed/);
  expect(run.status).toBe(0);
});
