import { expect, test } from "vitest";
import { IOMMU_IOAS_MAP_FILE, IommuIoasMapFile } from "../../src/uapi/iommufd.ts";
import * as hwpt from "../../src/uapi/iommufd-hwpt.ts";
import * as uapi from "../../src/uapi/iommufd-test.ts";
import { APERTURE, MockLab, PAGE } from "./mock-lab.ts";

/** A lab with a device, and 4 pages of which a range is mapped at the aperture's start. */
function mapped(pages = 4) {
  const lab = new MockLab();
  const { hwpt: table, idev, stdev } = lab.device();
  const buffer = lab.shared(4);
  lab.mapIoas(lab.iommu, lab.space, buffer, BigInt(pages * PAGE), { iova: APERTURE });
  return { lab, table, idev, stdev, buffer };
}

test("behind an IOVA is the page of the address, in every mapping of the memory, and no other", () => {
  const { lab, table, buffer } = mapped();
  expect(lab.leadsTo(table, APERTURE, buffer, 4 * PAGE)).toBe(0);
  expect(lab.leadsTo(table, APERTURE + 2048n, buffer + 2048, PAGE)).toBe(0);
  expect(lab.leadsTo(table, APERTURE, buffer + PAGE, PAGE)).toBe("EINVAL");
  expect(lab.leadsTo(table, APERTURE, buffer + 2048, 2048)).toBe("EINVAL");
  expect(lab.leadsTo(table, APERTURE + 0x4000n, buffer, PAGE)).toBe("EINVAL");
  expect(lab.leadsTo(table, APERTURE, 2 ** 40, PAGE)).toBe("EFAULT");
  // the address shows another page by now: the mapping keeps what it had
  lab.task.memory.mmap({ address: buffer, length: PAGE, protection: 3 });
  expect(lab.leadsTo(table, APERTURE, buffer, PAGE)).toBe("EINVAL");
  expect(lab.leadsTo(table, APERTURE + 0x1000n, buffer + PAGE, PAGE)).toBe(0);
});

test("a page is held once by each memory that maps it, and by nobody afterwards", () => {
  const { lab, stdev, buffer } = mapped(2);
  expect([lab.refs(buffer, 2, 1), lab.refs(buffer, 4, 1), lab.refs(buffer + 2 * PAGE, 2, 0)]).toEqual([0, "EIO", 0]);
  expect(lab.mapIoas(lab.iommu, lab.space, buffer, 4096n)).toBeTypeOf("bigint");
  expect([lab.refs(buffer, 1, 2), lab.refs(buffer + PAGE, 1, 1)]).toEqual([0, 0]);
  lab.destroy(lab.iommu, stdev);
  expect(lab.refs(buffer, 4, 0)).toBe(0);
});

test("an access holds pages without a page table, and gives them back when they are unmapped", () => {
  const lab = new MockLab();
  const buffer = lab.shared(4);
  const access = lab.access();
  expect(lab.pin(access, APERTURE, PAGE, buffer)).toBe("ENOENT");
  lab.mapIoas(lab.iommu, lab.space, buffer, 0x4000n, { iova: APERTURE });
  expect(lab.pin(access, APERTURE + 0x1000n, 2 * PAGE, buffer)).toBe("EBADE");
  expect(lab.refs(buffer, 4, 0)).toBe(0);
  const first = lab.pin(access, APERTURE, 2 * PAGE, buffer);
  const second = lab.pin(access, APERTURE + 0x1000n, PAGE, buffer + PAGE);
  expect([first, second, lab.refs(buffer, 2, 1)]).toEqual([0, 1, 0]);
  const destroy = (id: number) =>
    lab.check(uapi.IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, access, { destroy_access_pages: { access_pages_id: id } });
  expect([destroy(0), destroy(0), lab.refs(buffer, 1, 0), lab.refs(buffer + PAGE, 1, 1)]).toEqual([0, "ENOENT", 0, 0]);
  expect(lab.unmapIoas(lab.iommu, lab.space, APERTURE, 0x4000n)).toBe(0x4000n);
  expect([destroy(1), lab.refs(buffer, 4, 0)]).toEqual(["ENOENT", 0]);
});

test("an access that moves to another address space gives back what it holds, and its close ends it", () => {
  const lab = new MockLab();
  const buffer = lab.shared(1);
  lab.mapIoas(lab.iommu, lab.space, buffer, 0x1000n, { iova: APERTURE });
  const access = lab.access();
  lab.pin(access, APERTURE, PAGE, buffer);
  const other = lab.ioas(lab.iommu);
  const move = (id: unknown) =>
    lab.check(uapi.IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, access, { access_replace_ioas: { ioas_id: Number(id) } });
  expect([move(99), lab.refs(buffer, 1, 1), move(other), lab.refs(buffer, 1, 0)]).toEqual(["ENOENT", 0, 0, 0]);
  expect([lab.destroy(lab.iommu, other), lab.destroy(lab.iommu, lab.space)]).toEqual(["EBUSY", 0]);
  lab.close(access);
  expect(lab.destroy(lab.iommu, other)).toBe(0);
  expect(
    lab.check(uapi.IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, access, { destroy_access_pages: { access_pages_id: 0 } }),
  ).toBe("EBADFD");
});

test("an access that only moves bytes works at any byte; one that holds pages does not", () => {
  const lab = new MockLab();
  const buffer = lab.shared(2);
  const access = lab.access(0);
  lab.mapIoas(lab.iommu, lab.space, buffer, 0x1800n, { iova: APERTURE + 0x800n });
  expect(lab.move(access, APERTURE + 0x17fen, Buffer.from("across"), true)).toBe(0);
  const seen = Buffer.alloc(6);
  lab.task.memory.copyIn(buffer + 0xffe, seen, 6);
  expect(seen.toString()).toBe("across");
  const back = Buffer.alloc(6);
  expect([lab.move(access, APERTURE + 0x17fen, back, false), back.toString()]).toEqual([0, "across"]);
  expect(lab.move(access, APERTURE + 0x1fffn, Buffer.alloc(2), false)).toBe("ENOENT");
  expect(lab.pin(access, APERTURE + 0x800n, PAGE, buffer)).toBe("EOPNOTSUPP");
  // whole pages are wanted from now on, and what is mapped is not
  expect(lab.test(uapi.IOMMU_TEST_OP_CREATE_ACCESS, lab.space, { create_access: { out_access_fd: 0, flags: 1 } })).toBe(
    "EADDRINUSE",
  );
});

test("what an IOMMU notes as written is what the bitmap tells, once or as often as it is asked", () => {
  const { lab, idev, buffer } = mapped();
  const table = lab.makeHwpt(idev, lab.space, hwpt.IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
  const bits = lab.memory(PAGE);
  lab.task.memory.copyOut(bits, Buffer.from([0b101]), 1);
  const dirty = () =>
    lab.test(uapi.IOMMU_TEST_OP_DIRTY, table, {
      dirty: { flags: 0, iova: APERTURE, length: 0x4000n, page_size: 2048n, uptr: BigInt(bits), out_nr_dirty: 0n },
    });
  expect(dirty()).toBe("EINVAL");
  const tracking = hwpt.IommuHwptSetDirtyTracking.encode({ size: 16, flags: 1, hwpt_id: Number(table) });
  expect(lab.ioctlBytes(lab.iommu, hwpt.IOMMU_HWPT_SET_DIRTY_TRACKING, tracking)).toBe(0);
  expect(dirty()).toMatchObject({ dirty: { out_nr_dirty: 2n } });
  const bitmap = (flags: number) => {
    const data = lab.memory(PAGE);
    const request = {
      size: 48,
      hwpt_id: Number(table),
      flags,
      iova: APERTURE,
      length: 0x4000n,
      page_size: 2048n,
      data: BigInt(data),
    };
    const bytes = hwpt.IommuHwptGetDirtyBitmap.encode(request);
    expect(lab.ioctlBytes(lab.iommu, hwpt.IOMMU_HWPT_GET_DIRTY_BITMAP, bytes)).toBe(0);
    const seen = Buffer.alloc(1);
    lab.task.memory.copyIn(data, seen, 1);
    return seen[0];
  };
  expect([bitmap(hwpt.IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR), bitmap(0), bitmap(0)]).toEqual([0b101, 0b101, 0]);
  expect(buffer).toBeGreaterThan(0);
});

test("a dma-buf is mapped as a file is; taken back, its mappings lead nowhere for good", () => {
  const lab = new MockLab();
  const { hwpt: table } = lab.device();
  const get = (length: number) => lab.test(uapi.IOMMU_TEST_OP_DMABUF_GET, 0, { dmabuf_get: { length, open_flags: 0 } });
  expect([get(0), get(513 * PAGE)]).toEqual(["EINVAL", "EINVAL"]);
  const { value: fd } = get(2 * PAGE - 1) as { value: number };
  const map = (start: bigint, length: bigint) => {
    const bytes = IommuIoasMapFile.encode({
      size: IommuIoasMapFile.size,
      flags: 6,
      ioas_id: lab.space,
      fd,
      start,
      length,
    });
    const result = lab.ioctlBytes(lab.iommu, IOMMU_IOAS_MAP_FILE, bytes);
    return typeof result === "string" ? result : IommuIoasMapFile.decode(bytes).iova;
  };
  const revoke = (revoked: number, of = fd) =>
    lab.check(uapi.IOMMU_TEST_OP_DMABUF_REVOKE, 0, { dmabuf_revoke: { dmabuf_fd: of, revoked } });
  expect([map(0n, 0n), map(0n, 0x2001n), map(0x2000n, 0x1000n)]).toEqual(["EINVAL", "EINVAL", "EINVAL"]);
  const iova = map(0n, 0x2000n) as bigint;
  expect(iova).toBe(APERTURE);
  expect(lab.task.memory.pinnedPages).toBe(0);
  const access = lab.access(0);
  expect(lab.move(access, iova, Buffer.alloc(4), false)).toBe("EINVAL");
  expect([revoke(1), map(0n, 0x1000n), revoke(0)]).toEqual([0, "ENODEV", 0]);
  expect(map(0n, 0x1000n)).toBeTypeOf("bigint");
  expect(lab.leadsTo(table, iova, lab.memory(PAGE), PAGE)).toBe("EINVAL");
  expect([revoke(1, Number(lab.iommu)), revoke(1, 77)]).toEqual(["EINVAL", "EBADF"]);
  const file = lab.task.files.get(fd)!;
  const mmap = () => {
    file.mmap(lab.task, { offset: 0, length: PAGE, read: true, write: true, shared: true });
    return 0;
  };
  expect(lab.attempt(mmap)).toBe("EINVAL");
});

test("a fuzzer names a mapping by its number", () => {
  const { lab, buffer } = mapped(1);
  const access = lab.access();
  expect(lab.pin(access, 0n, PAGE, buffer, uapi.MOCK_FLAGS_ACCESS_SYZ)).toBe(0);
  expect(lab.pin(access, 5n, PAGE, buffer, uapi.MOCK_FLAGS_ACCESS_SYZ)).toBe("ENOENT");
});
