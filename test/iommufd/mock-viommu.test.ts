import { expect, test } from "vitest";
import { PROT_READ, PROT_WRITE } from "../../src/kernel/model-areas.ts";
import { IOMMU_HWPT_ALLOC_NEST_PARENT as PARENT } from "../../src/uapi/iommufd-hwpt.ts";
import * as uapi from "../../src/uapi/iommufd-test.ts";
import { IommufdVeventHeader } from "../../src/uapi/iommufd-viommu.ts";
import { APERTURE, MockLab, PAGE } from "./mock-lab.ts";

/** A lab with a device, a parent and a virtual IOMMU. */
function shared() {
  const lab = new MockLab();
  const { stdev, idev } = lab.device();
  const parent = lab.makeHwpt(idev, lab.space, PARENT);
  const viommu = lab.viommu(idev, parent);
  expect(viommu).toBeTypeOf("number");
  return { lab, stdev, idev, parent, viommu };
}

test("the order in which a virtual IOMMU is refused", () => {
  const { lab, idev, parent } = shared();
  const type = uapi.IOMMU_VIOMMU_TYPE_SELFTEST;
  expect([
    lab.viommu(99, 99, { flags: 1 }),
    lab.viommu(99, 99, { type: 0 }),
    lab.viommu(99, 99),
    lab.viommu(idev, 99, { type: type + 1 }),
    lab.viommu(idev, 99),
    lab.viommu(idev, lab.space),
    lab.viommu(idev, lab.makeHwpt(idev, lab.space)),
    lab.viommu(idev, parent, { data_len: 4, data_uptr: 0n }),
    lab.viommu(idev, parent, { data_len: 24, data_uptr: 8n }),
  ]).toEqual(["EOPNOTSUPP", "EOPNOTSUPP", "ENOENT", "EOPNOTSUPP", "ENOENT", "ENOENT", "EINVAL", "EINVAL", "EFAULT"]);
  // __reserved means nothing, and the ids of those that failed are free
  expect(lab.viommu(idev, parent, { __reserved: 1 })).toBe(Number(parent) + 3);
});

test("a virtual IOMMU keeps its parent, and is kept by its tables, numbers and queues", () => {
  const { lab, idev, parent, viommu } = shared();
  const table = lab.nested(idev, viommu);
  const vdevice = lab.vdevice(viommu, idev, 7n);
  const queue = lab.eventQueue(viommu, 1) as { id: number; fd: number };
  const busy = [parent, viommu, queue.id].map((id) => lab.destroy(lab.iommu, id));
  expect(busy).toEqual(["EBUSY", "EBUSY", "EBUSY"]);
  lab.close(queue.fd);
  expect([queue.id, vdevice, table, viommu, parent].map((id) => lab.destroy(lab.iommu, id))).toEqual([0, 0, 0, 0, 0]);
});

test("a device needs a number before it is attached to a guest's table", () => {
  const { lab, stdev, idev, viommu } = shared();
  const table = lab.nested(idev, viommu);
  expect(lab.replace(stdev, table)).toBe("ENOENT");
  const first = lab.vdevice(viommu, idev, 2n ** 64n - 1n);
  expect(lab.replace(stdev, table)).toBe(0);
  expect([lab.vdevice(viommu, idev, 1n), lab.vdevice(99, idev, 1n), lab.vdevice(viommu, 99, 1n)]).toEqual([
    "EEXIST",
    "ENOENT",
    "ENOENT",
  ]);
  const { idev: other } = lab.device();
  expect(lab.vdevice(viommu, other, 2n ** 64n - 1n)).toBe("EEXIST");
  expect(lab.destroy(lab.iommu, first)).toBe(0);
  expect(lab.vdevice(viommu, other, 2n ** 64n - 1n)).toBeTypeOf("number");
});

test("a device that goes takes its number along, and the id is given to nobody", () => {
  const { lab, stdev, idev, viommu } = shared();
  const vdevice = lab.vdevice(viommu, idev, 0x99n);
  expect(lab.destroy(lab.iommu, stdev)).toBe(0);
  expect(lab.destroy(lab.iommu, vdevice)).toBe("ENOENT");
  const ids = Array.from({ length: 6 }, () => lab.ioas(lab.iommu));
  expect(ids).not.toContain(vdevice);
  expect(lab.destroy(lab.iommu, viommu)).toBe(0);
});

test("what nests on a virtual IOMMU, and what does not", () => {
  const { lab, idev, viommu } = shared();
  expect([lab.nested(idev, viommu, PARENT), lab.makeHwpt(idev, viommu), lab.nested(idev, viommu, 8)]).toEqual([
    "EOPNOTSUPP",
    "EOPNOTSUPP",
    expect.any(Number),
  ]);
  const wrong = lab.data({ data_type: 1, bytes: uapi.IommuHwptSelftest.encode({}) });
  expect(lab.makeHwpt(idev, viommu, 0, wrong)).toBe("EOPNOTSUPP");
});

test("events: in order, numbered, and a mark where some were lost", () => {
  const { lab, stdev, idev, viommu } = shared();
  const trigger = () => lab.check(uapi.IOMMU_TEST_OP_TRIGGER_VEVENT, 0, { trigger_vevent: { dev_id: idev } });
  expect(trigger()).toBe("ENOENT");
  const table = lab.nested(idev, viommu);
  lab.vdevice(viommu, idev, 0x99n);
  lab.replace(stdev, table);
  expect(trigger()).toBe("EOPNOTSUPP");
  expect([lab.eventQueue(viommu, 0), lab.eventQueue(viommu, 2 ** 19 + 1)]).toEqual(["EINVAL", "EINVAL"]);
  const { fd } = lab.eventQueue(viommu, 2) as { fd: number };
  expect(lab.eventQueue(viommu, 2)).toBe("EEXIST");
  expect(lab.eventQueue(viommu, 2, 5)).toMatchObject({ id: expect.any(Number) });
  expect([lab.readAll(fd, 7), lab.readAll(fd)]).toEqual(["EINVAL", Buffer.alloc(0)]);
  expect([trigger(), trigger(), trigger(), trigger()]).toEqual([0, 0, 0, 0]);
  expect(lab.readAll(fd, 8)).toBe("EINVAL");
  const events = lab.readAll(fd) as Buffer;
  const event = (at: number) => ({
    ...IommufdVeventHeader.decode(events.subarray(at)),
    id: events.length > at + 8 ? events.readUInt32LE(at + 8) : undefined,
  });
  expect([event(0), event(12), event(24)]).toEqual([
    { flags: 0, sequence: 0, id: 0x99 },
    { flags: 0, sequence: 1, id: 0x99 },
    { flags: 1, sequence: 3, id: undefined },
  ]);
  expect([trigger(), (lab.readAll(fd) as Buffer).readUInt32LE(4)]).toEqual([0, 4]);
  lab.replace(stdev, lab.space);
  expect(trigger()).toBe("ENOENT");
});

test("a hardware queue holds its memory, which stays mapped, and depends on the one before it", () => {
  const { lab, viommu } = shared();
  const buffer = lab.memory(2 * PAGE);
  expect([
    lab.hwQueue(viommu, 0, APERTURE, 0n),
    lab.hwQueue(viommu, 0, 2n ** 64n - 1n, 2n),
    lab.hwQueue(viommu, 0, APERTURE, 4096n),
  ]).toEqual(["EINVAL", "EOVERFLOW", "ENOENT"]);
  lab.mapIoas(lab.iommu, lab.space, buffer, 0x1000n, { iova: APERTURE });
  lab.mapIoas(lab.iommu, lab.space, buffer, 0x2000n, { iova: APERTURE + 0x1000n });
  expect([lab.hwQueue(viommu, 1, APERTURE, 4096n), lab.hwQueue(viommu, 2, APERTURE, 4096n)]).toEqual(["EIO", "EINVAL"]);
  // two pages do not lie side by side
  expect(lab.hwQueue(viommu, 0, APERTURE + 0x1000n, 0x2000n)).toBe("EFAULT");
  const first = lab.hwQueue(viommu, 0, APERTURE, 4096n);
  expect([first, lab.hwQueue(viommu, 0, APERTURE, 4096n)]).toEqual([expect.any(Number), "EEXIST"]);
  expect([
    lab.unmapIoas(lab.iommu, lab.space, APERTURE, 0x1000n),
    lab.unmapIoas(lab.iommu, lab.space, APERTURE + 0x1000n, 0x2000n),
  ]).toEqual(["EBUSY", 0x2000n]);
  const second = lab.hwQueue(viommu, 1, APERTURE + 0x800n, 0x800n);
  expect([first, viommu, second, first].map((id) => lab.destroy(lab.iommu, id))).toEqual(["EBUSY", "EBUSY", 0, 0]);
  expect(lab.unmapIoas(lab.iommu, lab.space, APERTURE, 0x1000n)).toBe(0x1000n);
  expect(lab.destroy(lab.iommu, viommu)).toBe(0);
});

test("memory of a virtual IOMMU is mapped at its offset and as a whole, and shows what was handed in", () => {
  const { lab, idev, parent } = shared();
  const handed = lab.data({ data_type: 0, bytes: uapi.IommuViommuSelftest.encode({ in_data: 0xbeef }) });
  expect(lab.viommu(idev, parent, { data_len: handed.data_len, data_uptr: handed.data_uptr })).toBeTypeOf("number");
  const bytes = new Uint8Array(uapi.IommuViommuSelftest.size);
  lab.task.memory.copyIn(Number(handed.data_uptr), bytes, bytes.length);
  expect(uapi.IommuViommuSelftest.decode(bytes)).toEqual({
    in_data: 0xbeef,
    out_data: 0xbeef,
    out_mmap_offset: 4096n,
    out_mmap_length: 8192n,
  });
  const file = lab.task.files.get(Number(lab.iommu))!;
  const request = (offset: number, length: number, shared = true) => ({
    offset,
    length,
    read: true,
    write: true,
    shared,
  });
  const map = (offset: number, length: number, isShared = true) =>
    lab.attempt(() => {
      file.mmap(lab.task, request(offset, length, isShared));
      return 0;
    });
  expect([map(4096, 8192), map(4096, 4096), map(8192, 8192), map(4096, 8192, false)]).toEqual([
    0,
    "ENXIO",
    "ENXIO",
    "EINVAL",
  ]);
  const { object, offset } = file.mappedObject(request(4096, 8192))!;
  const at = lab.task.memory.mmap({ length: 8192, protection: PROT_READ | PROT_WRITE, object, offset, shared: true });
  const word = Buffer.alloc(4);
  lab.task.memory.copyIn(at, word, 4);
  expect(word.readUInt32LE()).toBe(0xbeef);
});
