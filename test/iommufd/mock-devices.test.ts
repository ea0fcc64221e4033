import { expect, test } from "vitest";
import * as hwpt from "../../src/uapi/iommufd-hwpt.ts";
import * as uapi from "../../src/uapi/iommufd-test.ts";
import * as viommu from "../../src/uapi/iommufd-viommu.ts";
import { IommuHwptPageResponse, IommuHwptPgfault } from "../../src/uapi/iommufd-viommu.ts";
import { IommufdProgram } from "./iommufd-program.ts";
import { APERTURE, MockLab, PAGE } from "./mock-lab.ts";

const { IOMMU_HWPT_ALLOC_NEST_PARENT: PARENT, IOMMU_HWPT_ALLOC_PASID: PASID, IOMMU_HWPT_FAULT_ID_VALID: FAULT } = hwpt;

function faultQueue(lab: MockLab): { id: number; fd: number } {
  const bytes = viommu.IommuFaultAlloc.encode({ size: viommu.IommuFaultAlloc.size });
  expect(lab.ioctlBytes(lab.iommu, viommu.IOMMU_FAULT_QUEUE_ALLOC, bytes)).toBe(0);
  const { out_fault_id: id, out_fault_fd: fd } = viommu.IommuFaultAlloc.decode(bytes);
  return { id, fd };
}

test("a device comes with three ids in a row, is attached, and goes with its object", () => {
  const lab = new MockLab();
  const { stdev, idev, hwpt: table } = lab.device();
  expect([stdev, idev, table]).toEqual([lab.space + 1, lab.space + 2, lab.space + 3]);
  expect([lab.destroy(lab.iommu, lab.space), lab.destroy(lab.iommu, idev), lab.destroy(lab.iommu, table)]).toEqual([
    "EBUSY",
    "EBUSY",
    "EBUSY",
  ]);
  expect(lab.destroy(lab.iommu, stdev)).toBe(0);
  expect([lab.destroy(lab.iommu, idev), lab.destroy(lab.iommu, table)]).toEqual(["ENOENT", "ENOENT"]);
  expect(lab.destroy(lab.iommu, lab.space)).toBe(0);
  expect(lab.host.iommuUse).toMatchObject({ requesters: 0, entries: 0 });
});

test("a device that cannot be made leaves nothing", () => {
  const lab = new MockLab();
  expect([lab.tryDevice(lab.space, 0x80), lab.tryDevice(77)]).toEqual(["EINVAL", "ENOENT"]);
  expect(lab.host.iommuUse).toMatchObject({ requesters: 0, entries: 0 });
  expect(lab.device().stdev).toBe(lab.space + 1);
});

test("devices go with the iommufd", () => {
  const lab = new MockLab();
  lab.device(lab.space, uapi.MOCK_FLAGS_DEVICE_PASID);
  lab.device();
  expect(lab.host.iommuUse.requesters).toBe(2);
  lab.close(lab.iommu);
  expect(lab.host.iommuUse).toMatchObject({ requesters: 0, entries: 0 });
});

test("hosts that were not made for it know no IOMMU_TEST_CMD, and this one knows its operations only", () => {
  const other = new IommufdProgram();
  expect(other.ioctl(other.iommufd(), uapi.IOMMU_TEST_CMD, other.memory(PAGE))).toBe("ENOTTY");
  const lab = new MockLab();
  expect(lab.test(99, 0)).toBe("EOPNOTSUPP");
  // between the last request of all kernels and this one there is nothing, and what a container knows is not asked
  expect(lab.ioctl(lab.iommu, 0x3b9f, lab.memory(PAGE))).toBe("ENOTTY");
});

test("its caches are what they were made with, until a virtual IOMMU invalidates them", () => {
  const lab = new MockLab();
  const { idev } = lab.device();
  const cache = (id: number, value: number) =>
    lab.check(uapi.IOMMU_TEST_OP_DEV_CHECK_CACHE, idev, { check_dev_cache: { id, cache: value } });
  expect([cache(3, uapi.IOMMU_TEST_DEV_CACHE_DEFAULT), cache(3, 1), cache(4, 0)]).toEqual([0, "EINVAL", "EINVAL"]);
  const share = lab.viommu(idev, lab.makeHwpt(idev, lab.space, PARENT));
  lab.vdevice(share, idev, 0x99n);
  const entry = (flags: number, vdev_id: number, cache_id: number) =>
    uapi.IommuViommuInvalidateSelftest.encode({ flags, vdev_id, cache_id });
  const type = uapi.IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST;
  expect(lab.invalidate(share, type, [entry(0, 0x99, 1), entry(2, 0x99, 2)])).toEqual({
    done: 1,
    result: "EOPNOTSUPP",
  });
  expect([cache(0, uapi.IOMMU_TEST_DEV_CACHE_DEFAULT), cache(1, 0)]).toEqual([0, 0]);
  expect(lab.invalidate(share, type, [entry(0, 0x98, 1)])).toEqual({ done: 0, result: "EINVAL" });
  expect(lab.invalidate(share, type, [entry(0, 0x99, 4)])).toEqual({ done: 0, result: "EINVAL" });
  expect(lab.invalidate(share, type, [entry(1, 0x99, 0)])).toEqual({ done: 1, result: 0 });
  expect([0, 1, 2, 3].map((id) => cache(id, 0))).toEqual([0, 0, 0, 0]);
  expect(lab.invalidate(share, type, [])).toEqual({ done: 0, result: 0 });
  // longer entries end with zeros, and shorter ones are filled up with them
  expect(lab.invalidate(share, type, [Buffer.concat([entry(1, 0x99, 0), Buffer.from([1])])])).toEqual({
    done: 0,
    result: "E2BIG",
  });
  expect(lab.invalidate(share, type, [Buffer.from([1])])).toEqual({ done: 0, result: "EINVAL" });
});

test("a nested table's TLB is invalidated entry by entry, also before anything is attached", () => {
  const lab = new MockLab();
  const { idev } = lab.device();
  const table = lab.nested(idev, lab.makeHwpt(idev, lab.space, PARENT));
  const iotlb = (id: number, value: number) =>
    lab.check(uapi.IOMMU_TEST_OP_MD_CHECK_IOTLB, table, { check_iotlb: { id, iotlb: value } });
  const entry = (flags: number, iotlb_id: number) => uapi.IommuHwptInvalidateSelftest.encode({ flags, iotlb_id });
  const type = uapi.IOMMU_HWPT_INVALIDATE_DATA_SELFTEST;
  expect(lab.invalidate(table, type, [entry(0, 2), entry(0, 4)])).toEqual({ done: 1, result: "EINVAL" });
  expect([iotlb(2, 0), iotlb(1, uapi.IOMMU_TEST_IOTLB_DEFAULT), iotlb(4, 0)]).toEqual([0, 0, "EINVAL"]);
  expect(lab.invalidate(table, type + 1, [entry(0, 0)])).toEqual({ done: 0, result: "EINVAL" });
  expect(lab.invalidate(table, type, [entry(1, 0)])).toEqual({ done: 1, result: 0 });
  expect(iotlb(1, 0)).toBe(0);
  expect(lab.invalidate(lab.space, type, [entry(1, 0)])).toEqual({ done: 0, result: "EINVAL" });
});

test("what is said of a page table: huge pages, all addresses, or a kind that there is not", () => {
  const lab = new MockLab();
  const { idev } = lab.device();
  const described = (pagetable_type: number, size: number = uapi.IommuHwptSelftest.size) =>
    lab.makeHwpt(
      idev,
      lab.space,
      0,
      lab.data({
        data_type: uapi.IOMMU_HWPT_DATA_SELFTEST,
        bytes: uapi.IommuHwptSelftest.encode({ pagetable_type }).subarray(0, size),
      }),
    );
  expect(described(uapi.MOCK_IOMMUPT_HUGE)).toBeTypeOf("number");
  expect([described(2), described(0, 3)]).toEqual(["EOPNOTSUPP", "EINVAL"]);
  expect(described(0, 4)).toBeTypeOf("number");
});

test("PASIDs: attach, replace, detach, and every second change of 1024 fails and changes nothing", () => {
  const lab = new MockLab();
  const { stdev, idev } = lab.device(lab.space, uapi.MOCK_FLAGS_DEVICE_PASID);
  const [first, second] = [lab.makeHwpt(idev, lab.space, PASID), lab.makeHwpt(idev, lab.space, PASID)];
  lab.replace(stdev, first);
  const change = (op: number, pasid: number, pt_id: number | string) =>
    lab.check(op, stdev, { pasid_attach: { pasid, pt_id: Number(pt_id) } });
  const attach = (pasid: number, table: number | string) => change(uapi.IOMMU_TEST_OP_PASID_ATTACH, pasid, table);
  const replace = (pasid: number, table: number | string) => change(uapi.IOMMU_TEST_OP_PASID_REPLACE, pasid, table);
  const detach = (pasid: number) => lab.check(uapi.IOMMU_TEST_OP_PASID_DETACH, stdev, { pasid_detach: { pasid } });
  const isAt = (pasid: number, table: number | string) =>
    lab.check(uapi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, { pasid_check: { pasid, hwpt_id: Number(table) } });
  expect([
    replace(7, first),
    attach(7, first),
    attach(7, first),
    replace(7, second),
    isAt(7, second),
    isAt(7, first),
  ]).toEqual(["EINVAL", 0, "EBUSY", 0, 0, "EINVAL"]);
  expect([detach(7), isAt(7, 0), detach(7)]).toEqual([0, 0, 0]);
  expect([
    attach(1024, first),
    replace(1024, second),
    isAt(1024, first),
    replace(1024, second),
    isAt(1024, second),
  ]).toEqual([0, "ENOMEM", 0, 0, 0]);
  expect([detach(1024), attach(1024, first), detach(1024)]).toEqual([0, 0, 0]);
  // a table that is not for PASIDs
  expect([attach(8, lab.makeHwpt(idev, lab.space)), attach(8, lab.space)]).toEqual(["EINVAL", "EINVAL"]);
});

test("a page request goes to the queue of what its PASID is attached to, or of the guest's table", () => {
  const lab = new MockLab();
  const { stdev, idev } = lab.device(lab.space, uapi.MOCK_FLAGS_DEVICE_PASID);
  const queue = faultQueue(lab);
  const parent = lab.makeHwpt(idev, lab.space, PARENT);
  const table = lab.nested(idev, parent, FAULT, queue.id);
  const ask = (pasid: number) =>
    lab.check(uapi.IOMMU_TEST_OP_TRIGGER_IOPF, 0, {
      trigger_iopf: { dev_id: idev, pasid, grpid: 2, perm: 3, addr: 0xdead_beafn },
    });
  expect(ask(1)).toBe(0);
  expect(lab.readAll(queue.fd, IommuHwptPgfault.size)).toHaveLength(0);
  lab.replace(stdev, table);
  expect(ask(1)).toBe(0);
  const request = lab.readAll(queue.fd, IommuHwptPgfault.size) as Buffer;
  expect(IommuHwptPgfault.decode(request)).toMatchObject({
    flags: 3,
    dev_id: idev,
    pasid: 1,
    grpid: 2,
    perm: 3,
    addr: 0xdead_beafn,
    cookie: 1,
  });
  const answer = lab.memory(PAGE);
  lab.task.memory.copyOut(answer, IommuHwptPageResponse.encode({ cookie: 1, code: 0 }), IommuHwptPageResponse.size);
  expect(lab.attempt(() => lab.task.files.get(queue.fd)!.write(lab.task, answer, 8, 0))).toBe(8);
});

test("reserved ranges are taken from what is allowed and what is mapped", () => {
  const lab = new MockLab();
  const reserve = (start: bigint, length: bigint) =>
    lab.check(uapi.IOMMU_TEST_OP_ADD_RESERVED, lab.space, { add_reserved: { start, length } });
  const buffer = lab.memory(PAGE);
  expect(lab.mapIoas(lab.iommu, lab.space, buffer, 4096n, { iova: APERTURE })).toBe(APERTURE);
  expect([reserve(APERTURE, 1n), reserve(0n, 0n), reserve(2n ** 64n - 1n, 2n)]).toEqual([
    "EADDRINUSE",
    "EINVAL",
    "EOVERFLOW",
  ]);
  expect(reserve(APERTURE + 0x1000n, 0x1000n)).toBe(0);
  expect(lab.mapIoas(lab.iommu, lab.space, buffer, 4096n, { iova: APERTURE + 0x1000n })).toBe("EINVAL");
});
