import { describe, expect, it } from "vitest";
import { Container } from "../../src/client/container.ts";
import { findGroup } from "../../src/client/find-group.ts";
import { Group } from "../../src/client/group.ts";
import { ModelTransport } from "../../src/client/model-transport.ts";
import { SystemCallError } from "../../src/client/transport.ts";
import { Host } from "../../src/host/host.ts";
import { ModelTask } from "../../src/kernel/model-task.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { StructView } from "../../src/uapi/struct-view.ts";
import { VfioDeviceInfoCapZpciBase } from "../../src/uapi/vfio-zdev.ts";

const s390 = readyMadeHost("s390")!;
const NVME = "0013:00:00.0";
const FIRST = 0x1_0000_0000n;

function setUp(makeTask?: () => ModelTask) {
  const transport = new ModelTransport(new Host(s390), makeTask ? { makeTask } : {});
  const container = Container.open(transport);
  const group = Group.open(transport, findGroup(transport, NVME));
  group.setContainer(container);
  container.setIommu(3);
  return { transport, container, group };
}

describe.each([
  { title: "a program of the machine itself, big-endian", makeTask: undefined, isLittle: false },
  { title: "a little-endian program, as uvfio run has", makeTask: () => new ModelTask(), isLittle: true },
])("$title", ({ makeTask, isLittle }) => {
  it("is answered in its own byte order", () => {
    const { transport, container } = setUp(makeTask);
    expect(transport.littleEndian).toBe(isLittle);
    const info = container.getInfo();
    expect(info).toMatchObject({
      pageSizes: 0x1000n,
      ranges: [{ start: FIRST, last: FIRST + 2n ** 31n - 1n }],
      dmaAvail: 65535,
    });
    const argsz = [...info.raw.subarray(0, 4)];
    expect(isLittle ? argsz.reverse() : argsz).toEqual([0, 0, 0, 104]);
  });

  it("maps and unmaps with 64-bit fields of both halves", () => {
    const { transport, container } = setUp(makeTask);
    const memory = transport.allocate(0x10000);
    container.map({ iova: FIRST + 0x1000n, memory });
    expect(() => container.map({ iova: 0n, memory })).toThrow(SystemCallError);
    expect(() => container.map({ iova: FIRST + 0x2000n, memory })).toThrow("EEXIST");
    expect(container.unmap({ iova: FIRST + 0x1000n, size: 0x10000n })).toBe(0x10000n);
    expect(container.unmapAll()).toBe(0n);
  });

  it("reads dirty bitmaps", () => {
    const { transport, container } = setUp(makeTask);
    const memory = transport.allocate(0x3000);
    container.map({ iova: FIRST + 0x41000n, memory });
    container.startDirtyTracking();
    const bitmap = container.dirtyBitmap({ iova: FIRST, size: 0x80000n });
    expect([...bitmap.dirtyPages()]).toEqual([0x41000n, 0x42000n, 0x43000n].map((page) => FIRST + page));
    // bits 1 to 3 of the second 64-bit word
    const word = [...bitmap.bytes.subarray(8, 16)];
    expect(isLittle ? word.reverse() : word).toEqual([0, 0, 0, 0, 0, 0, 0, 0xe]);
    expect(bitmap.isDirty(FIRST)).toBe(false);
  });

  it("opens a function: what firmware says of it, its regions and interrupts", () => {
    const { group } = setUp(makeTask);
    const device = group.getDevice(NVME);
    const { flags, capabilities } = device.info();
    expect(flags).toBe(0x83);
    expect(capabilities.map(({ id, version }) => [id, version])).toEqual([
      [1, 2],
      [2, 2],
      [4, 1],
    ]);
    const { body } = capabilities[0]!;
    const structure = new Uint8Array(8 + body.length);
    structure.set(body, 8);
    expect(VfioDeviceInfoCapZpciBase.decode(structure, isLittle)).toMatchObject({
      start_dma: FIRST,
      end_dma: FIRST + 2n ** 31n - 1n,
      gid: 0xff,
      fh: 0x8002_0002,
    });
    expect(device.regionInfo(0)).toMatchObject({ flags: 3, size: 0x4000n, capabilities: [] });
    expect(device.regionInfo(7).size).toBe(0x100n);
    expect(device.irqInfo(0).count).toBe(0);
    expect(device.irqInfo(2)).toMatchObject({ flags: 9, count: 65 });
  });
});

it("registers and config space are little-endian for everybody", () => {
  const { group, transport } = setUp();
  const device = group.getDevice(NVME);
  const ids = new Uint8Array(4);
  transport.pread(device.fd, ids, 7 * 2 ** 40);
  expect(Buffer.from(ids).toString("hex")).toBe("361b1000");
  const capabilities = new Uint8Array(8);
  transport.pwrite(device.fd, Uint8Array.of(2, 0), 7 * 2 ** 40 + 4);
  transport.pread(device.fd, capabilities, 0);
  expect(new StructView(capabilities, true).u64(0)).toBe(0x0040_0820_0f01_07ffn);
});
