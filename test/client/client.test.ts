import { describe, expect, it } from "vitest";
import { Container } from "../../src/client/container.ts";
import { devicePath, findGroup } from "../../src/client/find-group.ts";
import { Group } from "../../src/client/group.ts";
import { ModelTransport } from "../../src/client/model-transport.ts";
import { O_CLOEXEC, O_RDWR, SystemCallError } from "../../src/client/transport.ts";
import { ModelTask } from "../../src/kernel/model-task.ts";
import { encodeCapabilityChain } from "../../src/uapi/capability-chain.ts";
import { VFIO_REGION_INFO_CAP_TYPE } from "../../src/uapi/vfio-device.ts";
import { VfioIommuType1Info } from "../../src/uapi/vfio-type1.ts";
import { FakeHost } from "./fake-host.ts";

const NAME = "0000:00:1b.0";

/** The chain fills it in. */
const HEADER = "0000000000000000";

/** An answer of GET_INFO with one range and the DMA_AVAIL of a kernel before 6.6. */
function info(): Uint8Array {
  const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));
  const range = `0100000000000000${"0000000000000000"}${"ffffdffe00000000"}`;
  const chain = encodeCapabilityChain(
    24,
    [
      { id: 3, version: 1, structure: bytes(`${HEADER}fffe0000`) },
      { id: 1, version: 1, structure: bytes(`${HEADER}${range}`) },
    ],
    false,
  );
  const fixed = { argsz: 24 + chain.length, flags: 3, iova_pgsizes: 0x4000_1000n, cap_offset: 24 };
  const all = VfioIommuType1Info.encode(fixed, chain.length);
  all.set(chain, 24);
  return all;
}

function setUp() {
  const host = new FakeHost([{ name: NAME, bus: "pci", group: 5 }], info);
  const transport = new ModelTransport(host);
  const container = Container.open(transport);
  const group = Group.open(transport, findGroup(transport, NAME));
  group.setContainer(container);
  return { host, transport, container, group };
}

describe("a container", () => {
  it("tells its version and extensions", () => {
    const { container } = setUp();
    expect(container.apiVersion()).toBe(0);
    expect(container.checkExtension(3)).toBe(true);
    expect(container.checkExtension(7)).toBe(false);
  });

  it("reads its info in as many calls as it takes", () => {
    const { container } = setUp();
    expect(container.getInfo()).toMatchObject({
      flags: 3,
      pageSizes: 0x4000_1000n,
      ranges: [{ start: 0n, last: 0xfedfffffn }],
      dmaAvail: 0xfeff,
      capabilities: [{ id: 3, offset: 24 }, { id: 1 }],
      raw: info(),
    });
    expect(container.getInfo().migration).toBeUndefined();
  });

  it("maps memory, all of it for reading and writing unless told otherwise", () => {
    const { host, transport, container } = setUp();
    const memory = transport.allocate(5000);
    expect(memory.bytes.length).toBe(8192);
    container.map({ iova: 0x10_0000n, memory });
    container.map({ iova: 1n << 63n, vaddr: 4096n, size: 4096n, write: false });
    expect(host.mapped).toEqual([
      { argsz: 32, flags: 3, vaddr: memory.address, iova: 0x10_0000n, size: 8192n },
      { argsz: 32, flags: 1, vaddr: 4096n, iova: 1n << 63n, size: 4096n },
    ]);
    expect(() => container.map({ iova: 0n, vaddr: 0n })).toThrow(TypeError);
  });

  it("returns how much was unmapped", () => {
    const { host, container } = setUp();
    expect(container.unmap({ iova: 0x1000n, size: 0x2000n })).toBe(0x3000n);
    expect(container.unmapAll()).toBe(0x3000n);
    expect(host.unmapped).toMatchObject([
      { flags: 0, iova: 0x1000n, size: 0x2000n },
      { flags: 2, iova: 0n, size: 0n },
    ]);
  });

  it("finds dirty pages in units of the smallest page", () => {
    const { host, container } = setUp();
    container.startDirtyTracking();
    const bitmap = container.dirtyBitmap({ iova: 0x10_0000n, size: 0x1_0000n });
    container.stopDirtyTracking();
    expect([...bitmap.dirtyPages()]).toEqual([0x10_1000n, 0x10_9000n]);
    expect(bitmap.isDirty(0x10_0000n)).toBe(false);
    expect(bitmap.bytes.length).toBe(8);
    expect(host.dirtyFlags).toEqual([1, 4, 2]);
  });

  it("fails with the errno, the request's name and the reason", () => {
    const { container } = setUp();
    try {
      container.map({ iova: 0xfee00000n, vaddr: 4096n, size: 4096n });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(SystemCallError);
      expect(error).toMatchObject({ code: "EINVAL", errno: 22, call: "VFIO_IOMMU_MAP_DMA" });
      expect(String(error)).toBe("SystemCallError: VFIO_IOMMU_MAP_DMA: EINVAL (iova 0xfee00000 is reserved)");
    }
  });
});

describe("a group", () => {
  it("is found by a device's name", () => {
    const { transport } = setUp();
    expect(findGroup(transport, NAME)).toBe(5);
    expect(findGroup(transport, "00:1B.0")).toBe(5);
    expect(findGroup(transport, `/sys/bus/pci/devices/${NAME}/`)).toBe(5);
    expect(devicePath("C08DB5ED-05D3-4B39-B150-438A18BC698F")).toBe(
      "/sys/bus/mdev/devices/c08db5ed-05d3-4b39-b150-438a18bc698f",
    );
  });

  it("tells its status, and leaves its container", () => {
    const { group } = setUp();
    expect(group.status()).toEqual({ viable: true, containerSet: true, flags: 3 });
    group.unsetContainer();
    expect(group.status()).toEqual({ viable: true, containerSet: false, flags: 1 });
  });

  it("opens its devices, and no others", () => {
    const { group } = setUp();
    expect(group.getDevice(NAME).name).toBe(NAME);
    expect(() => group.getDevice("0000:00:00.0")).toThrow("VFIO_GROUP_GET_DEVICE_FD: ENODEV");
  });
});

describe("a device", () => {
  it("tells what it has", () => {
    const device = setUp().group.getDevice(NAME);
    expect(device.info()).toEqual({ flags: 3, numRegions: 9, numIrqs: 5, capabilities: [] });
    expect(device.regionInfo(7)).toEqual({ index: 7, flags: 3, size: 0x100n, offset: 7n << 40n, capabilities: [] });
    expect(device.regionInfo(2)).toMatchObject({ flags: 0xf, capabilities: [{ id: VFIO_REGION_INFO_CAP_TYPE }] });
    expect(device.irqInfo(2)).toEqual({ index: 2, flags: 7, count: 3 });
    expect(() => device.regionInfo(9)).toThrow("EINVAL");
  });

  it("reads and writes its regions", () => {
    const device = setUp().group.getDevice(NAME);
    expect(device.writeRegion(7, 4, Uint8Array.of(6, 1))).toBe(2);
    expect([...device.readRegion(7, 3, 4)]).toEqual([0, 6, 1, 0]);
    expect(device.readRegion(7, 0xff, 4)).toHaveLength(1);
    device.reset();
    expect([...device.readRegion(7, 4, 1)]).toEqual([0]);
  });
});

describe("the model transport", () => {
  it("shares memory between JavaScript and the process", () => {
    const { transport } = setUp();
    const memory = transport.allocate(4096);
    memory.bytes[5] = 42;
    const seen = new Uint8Array(1);
    transport.task.memory.copyIn(Number(memory.address) + 5, seen, 1);
    expect(seen[0]).toBe(42);
    memory.free();
    expect(() => transport.task.memory.copyIn(Number(memory.address), seen, 1)).toThrow("EFAULT");
  });

  it("gives a file back when there is no descriptor for it", () => {
    const host = new FakeHost([], info);
    const task = new ModelTask();
    task.files.limit = 3;
    const transport = new ModelTransport(host, { makeTask: () => task });
    expect(() => transport.open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC)).toThrow("EMFILE");
    expect(host.opened.size).toBe(0);
  });

  it("closes everything when the process ends", () => {
    const { host, transport } = setUp();
    expect(host.opened.size).toBe(2);
    transport.exit();
    expect(host.opened.size).toBe(0);
  });

  it("finds names in the host's tree through links", () => {
    const { transport } = setUp();
    expect(transport.exists(`/sys/bus/pci/devices/${NAME}`)).toBe(true);
    expect(transport.exists(`/sys/bus/pci/devices/${NAME}/iommu_group/devices`)).toBe(true);
    expect(transport.exists("/sys/bus/pci/devices/0000:00:00.0")).toBe(false);
    expect(transport.exists("/dev/vfio/5")).toBe(true);
    expect(transport.readlink(`/sys/bus/pci/devices/${NAME}/iommu_group`)).toBe("../../../kernel/iommu_groups/5");
    expect(() => transport.readlink("/sys/kernel/iommu_groups/5")).toThrow("EINVAL");
    expect(() => transport.readlink("/sys/nothing")).toThrow("ENOENT");
  });

  it("encodes requests as the host's architecture does", () => {
    const transport = new ModelTransport(new FakeHost([], info), { encoding: "powerpc" });
    const container = Container.open(transport);
    expect(() => container.apiVersion()).toThrow("0x20003b64");
  });

  it("knows which descriptors are open", () => {
    const { transport, container } = setUp();
    container.close();
    expect(() => container.apiVersion()).toThrow("VFIO_GET_API_VERSION: EBADF");
    expect(() => transport.close(99)).toThrow("close 99: EBADF");
  });
});
