import { beforeEach, describe, expect, test } from "vitest";
import { IOMMU_GET_HW_INFO, IommuHwInfo, IommuHwInfoVtd } from "../../src/uapi/iommufd-hwpt.ts";
import { ABLE, ENGINE, LAB, NEST_PARENT, NestingLab, PAGES, PLAIN, PRESENT, page, RWU, USER } from "./nesting-lab.ts";

const DIRTY = 2;
const FAULT = 4;
const PASID = 8;
const ACCESSED = 0x20n;
const DIRTY_BIT = 0x40n;

let lab: NestingLab;
let able: ReturnType<NestingLab["device"]>;
let parent: number | string;

beforeEach(() => {
  lab = new NestingLab();
  able = lab.device(ABLE);
  parent = lab.hwpt(lab.iommu, able.id, lab.space, NEST_PARENT);
});

function hwInfo(id: number | string) {
  const data = lab.memory(4096);
  const size = IommuHwInfo.size;
  const bytes = IommuHwInfo.encode({ size, dev_id: Number(id), data_len: 24, data_uptr: BigInt(data) });
  expect(lab.ioctlBytes(lab.iommu, IOMMU_GET_HW_INFO, bytes)).toBe(0);
  const registers = new Uint8Array(24);
  lab.task.memory.copyIn(data, registers, 24);
  return { info: IommuHwInfo.decode(bytes), registers: IommuHwInfoVtd.decode(registers) };
}

describe("the IOMMU of lab-nesting", () => {
  test("says what it and its devices can do", () => {
    const { info, registers } = hwInfo(able.id);
    expect([info.out_data_type, info.out_max_pasid_log2, info.out_capabilities & 0xfn]).toEqual([1, 20, 5n]);
    for (const bit of [2n, 26n, 29n, 31n, 34n, 40n, 42n, 43n, 45n, 46n, 47n]) {
      expect((registers.ecap_reg >> bit) & 1n, `ECAP bit ${bit}`).toBe(1n);
    }
    expect((registers.ecap_reg >> 35n) & 0x1fn).toBe(19n);
    const other = hwInfo(lab.device(ENGINE).id);
    expect([other.info.out_max_pasid_log2, other.info.out_capabilities & 0xfn]).toEqual([0, 9n]);
    expect(other.registers).toEqual(registers);
  });

  test("makes parents of second-stage tables, whose addresses are wider", () => {
    expect(lab.hwpt(lab.iommu, able.id, lab.space, NEST_PARENT | PASID)).toBeTypeOf("number");
    expect(lab.hwpt(lab.iommu, able.id, lab.space, FAULT | NEST_PARENT)).toBe("EOPNOTSUPP");
    expect(lab.mapIoas(lab.iommu, lab.space, lab.guest, 0x1000n, { iova: 2n ** 47n })).toBe(2n ** 47n);
    expect(lab.mapIoas(lab.iommu, lab.space, lab.guest, 0x1000n, { iova: 2n ** 48n })).toBe("EINVAL");
    // first-stage tables do not reach there
    expect(lab.attach(able.fd, lab.space)).toBe("EADDRINUSE");
    expect(lab.attach(able.fd, parent)).toBe(parent);
  });

  test("takes no read-only mappings in a parent", () => {
    expect(lab.mapIoas(lab.iommu, lab.space, lab.guest, 0x1000n, { iova: 0n, access: 4 })).toBe("EINVAL");
    expect(lab.reason).toContain("read-only");
    const other = lab.ioas(lab.iommu);
    expect(lab.mapIoas(lab.iommu, other, lab.guest, 0x1000n, { iova: 0n, access: 4 })).toBe(0n);
    expect(lab.hwpt(lab.iommu, able.id, other, NEST_PARENT)).toBe("EINVAL");
    expect(lab.hwpt(lab.iommu, able.id, other)).toBeTypeOf("number");
  });
});

describe("a nested page table", () => {
  test("is described as the kernel takes it", () => {
    expect(lab.nested(able.id, parent)).toBeTypeOf("number");
    expect(lab.nested(able.id, lab.space)).toBe("EOPNOTSUPP");
    expect(lab.nested(able.id, lab.hwpt(lab.iommu, able.id, lab.space))).toBe("EINVAL");
    expect(lab.nested(able.id, 99)).toBe("EINVAL");
    expect(lab.nested(99, parent)).toBe("ENOENT");
    expect(lab.nested(able.id, parent, { flags: NEST_PARENT })).toBe("EOPNOTSUPP");
    expect(lab.nested(able.id, parent, { flags: DIRTY })).toBe("EOPNOTSUPP");
    expect(lab.nested(able.id, parent, { type: 2 })).toBe("EOPNOTSUPP");
    expect(lab.nested(able.id, parent, { type: 0 })).toBe("EINVAL");
    expect(lab.nested(able.id, parent, { length: 16 })).toBe("EINVAL");
    expect(lab.nested(able.id, parent, { length: 32 })).toBe("EINVAL");
    expect(lab.nested(able.id, parent, { fault: 99 })).toBe("ENOENT");
    // nothing of the failures is left: the next id is the one after those that were made
    const nested = Number(lab.nested(able.id, parent));
    expect(lab.nested(able.id, nested)).toBe("EINVAL");
    expect(lab.destroy(lab.iommu, parent)).toBe("EBUSY");
  });

  test("is looked into by an attach only", () => {
    const narrow = lab.nested(able.id, parent, { s1: { addr_width: 39 } });
    expect(narrow).toBeTypeOf("number");
    expect(lab.attach(able.fd, narrow)).toBe("EINVAL");
    expect(lab.attach(able.fd, lab.nested(able.id, parent, { s1: { addr_width: 57 } }))).toBeTypeOf("number");
  });

  test("translates the device's addresses twice", () => {
    lab.attach(able.fd, lab.nested(able.id, parent));
    expect(lab.readWord(able.fd, 0n)).toBe(4n);
    expect(lab.peek(lab.entryAt(0n))).toBe(page(4) | RWU | ACCESSED);
    lab.point(0x2000n, 6);
    lab.transfer(able.fd, 0x2000n, true);
    expect(lab.peek(lab.guest + 6 * 4096)).toBe(4n);
    expect(lab.peek(lab.entryAt(0x2000n))).toBe(page(6) | RWU | ACCESSED | DIRTY_BIT);
  });

  test("has its parent note what is written through it, and to its tables", () => {
    const tracking = lab.hwpt(lab.iommu, able.id, lab.space, NEST_PARENT | DIRTY);
    lab.attach(able.fd, lab.nested(able.id, tracking));
    expect(lab.readWord(able.fd, 0n)).toBe(4n);
    expect(lab.startTracking(tracking)).toBe(0);
    expect(lab.dirtyPages(tracking)).toEqual([]);
    lab.point(0x2000n, 6);
    lab.transfer(able.fd, 0x2000n, true);
    // page 3 is the last-level table, whose accessed and dirty bits were set
    expect(lab.dirtyPages(tracking)).toEqual([3, 6]);
  });

  test("works for devices that have neither PASIDs nor ATS", () => {
    const plain = lab.device(PLAIN);
    lab.attach(plain.fd, lab.nested(plain.id, parent));
    expect(lab.readWord(plain.fd, 0n)).toBe(4n);
    lab.point(0n, 5);
    expect(lab.readWord(plain.fd, 0n)).toBe(4n);
  });

  test("is remembered until it is invalidated, with what lies around it in the same block", () => {
    const nested = lab.nested(able.id, parent);
    lab.attach(able.fd, nested);
    for (let index = 0n; index < 4n; index++) lab.point(index << 12n, 4);
    const read = () => [0n, 1n, 2n, 3n].map((index) => lab.readWord(able.fd, index << 12n));
    expect(read()).toEqual([4n, 4n, 4n, 4n]);
    for (let index = 0n; index < 4n; index++) lab.point(index << 12n, 5);
    expect(read()).toEqual([4n, 4n, 4n, 4n]);
    expect(lab.invalidate(nested, [{ addr: 0x1000n, npages: 1n }])).toEqual({ done: 1, result: 0 });
    expect(read()).toEqual([4n, 5n, 4n, 4n]);
    // pages 1 and 2 are in no block of two: the block of four is
    lab.invalidate(nested, [{ addr: 0x1000n, npages: 2n, flags: 1 }]);
    expect(read()).toEqual([5n, 5n, 5n, 5n]);
    for (let index = 0n; index < 4n; index++) lab.point(index << 12n, 6);
    lab.invalidate(nested, [{ addr: 0n, npages: 2n ** 64n - 1n }]);
    expect(read()).toEqual([6n, 6n, 6n, 6n]);
  });

  test("that changes in an upper level needs more than the leaf", () => {
    const nested = lab.nested(able.id, parent);
    lab.attach(able.fd, nested);
    expect(lab.readWord(able.fd, 0n)).toBe(4n);
    // another last-level table, in page 7
    lab.poke(lab.guest + 7 * 4096, page(5) | RWU);
    lab.poke(lab.guest + 7 * 4096 + 0x1ff * 8, page(15) | RWU);
    lab.poke(lab.guest + 2 * 4096, page(7) | RWU);
    lab.invalidate(nested, [{ addr: 0n, npages: 1n, flags: 1 }]);
    expect(lab.readWord(able.fd, 0n)).toBe(4n);
    lab.invalidate(nested, [{ addr: 0n, npages: 1n }]);
    expect(lab.readWord(able.fd, 0n)).toBe(5n);
  });

  test("is forgotten when memory is unmapped, or the device is detached", () => {
    const nested = lab.nested(able.id, parent);
    lab.attach(able.fd, nested);
    const far = 0x4000_0000n;
    const other = lab.memory(4096);
    lab.poke(other, 77n);
    lab.mapIoas(lab.iommu, lab.space, other, 4096n, { iova: far });
    lab.poke(lab.entryAt(0x3000n), far | RWU);
    expect(lab.readWord(able.fd, 0x3000n)).toBe(77n);
    lab.unmapIoas(lab.iommu, lab.space, far, 4096n);
    expect(lab.readWord(able.fd, 0x3000n)).toBe("failed");
    lab.mapIoas(lab.iommu, lab.space, lab.guest + 9 * 4096, 4096n, { iova: far });
    expect(lab.readWord(able.fd, 0x3000n)).toBe(9n);
    lab.poke(lab.entryAt(0x3000n), page(8) | RWU);
    expect(lab.readWord(able.fd, 0x3000n)).toBe(9n);
    lab.detach(able.fd);
    lab.attach(able.fd, nested);
    expect(lab.readWord(able.fd, 0x3000n)).toBe(8n);
  });

  test.each([
    ["a missing entry", 0n, 0x71],
    ["a page of the supervisor's", page(4) | PRESENT, 0x81],
    ["a page that the parent does not map", 0x4000_0000n | RWU, 0x79],
  ])("faults as VT-d does: %s", (_what, entry, code) => {
    const warnings: string[] = [];
    lab = new NestingLab(LAB, (message) => warnings.push(message));
    able = lab.device(ABLE);
    parent = lab.hwpt(lab.iommu, able.id, lab.space, NEST_PARENT);
    lab.attach(able.fd, lab.nested(able.id, parent));
    lab.poke(lab.entryAt(0n), entry);
    expect(lab.readWord(able.fd, 0n)).toBe("failed");
    expect(warnings.join()).toContain(`without PASID: VT-d fault 0x${code.toString(16)}:`);
  });

  test("does not let a read-only page be written", () => {
    lab.attach(able.fd, lab.nested(able.id, parent));
    lab.point(0x2000n, 6, PRESENT | USER);
    lab.transfer(able.fd, 0x2000n, true);
    expect(lab.state(able.fd)).toBe("failed");
    expect(lab.peek(lab.guest + 6 * 4096)).toBe(6n);
    expect(lab.readWord(able.fd, 0x2000n)).toBe(6n);
  });

  test("moves with a replace, and goes in order", () => {
    const first = lab.nested(able.id, parent);
    const second = lab.nested(able.id, parent, { s1: { pgtbl_addr: page(8) } });
    lab.attach(able.fd, first);
    expect(lab.readWord(able.fd, 0n)).toBe(4n);
    // a table of its own that shares all but the root
    lab.poke(lab.guest + 8 * 4096, page(1) | RWU);
    lab.point(0n, 5);
    expect(lab.attach(able.fd, second)).toBe(second);
    expect(lab.readWord(able.fd, 0n)).toBe(5n);
    expect(lab.destroy(lab.iommu, second)).toBe("EBUSY");
    expect(lab.destroy(lab.iommu, first)).toBe(0);
    expect(lab.attach(able.fd, parent)).toBe(parent);
    lab.back = page(15);
    expect(lab.readWord(able.fd, page(7))).toBe(7n);
    expect(lab.destroy(lab.iommu, second)).toBe(0);
    lab.close(able.fd);
    expect(lab.destroy(lab.iommu, parent)).toBe(0);
    expect(lab.unmapIoas(lab.iommu, lab.space)).toBe(BigInt(PAGES * 4096));
    expect(lab.task.memory.pinCount).toBe(0);
  });
});

describe("an invalidation", () => {
  let nested: number | string;

  beforeEach(() => {
    nested = lab.nested(able.id, parent);
    lab.attach(able.fd, nested);
  });

  test("says how many entries it did", () => {
    const good = { addr: 0x1000n, npages: 1n };
    expect(lab.invalidate(nested, [good, good, good])).toEqual({ done: 3, result: 0 });
    expect(lab.invalidate(nested, [good, { ...good, flags: 2 }, good])).toEqual({ done: 1, result: "EOPNOTSUPP" });
    expect(lab.invalidate(nested, [good, good, { ...good, __reserved: 1 }])).toEqual({ done: 2, result: "EOPNOTSUPP" });
    expect(lab.invalidate(nested, [{ addr: 0x1001n, npages: 1n }])).toEqual({ done: 0, result: "EINVAL" });
    expect(lab.invalidate(nested, [{ addr: 0x1000n, npages: 2n ** 64n - 1n }])).toEqual({ done: 0, result: "EINVAL" });
    expect(lab.invalidate(nested, [])).toEqual({ done: 0, result: 0 });
  });

  test("checks its list", () => {
    const one = [{ addr: 0n, npages: 1n }];
    expect(lab.invalidate(nested, one, { type: 1 })).toEqual({ done: 0, result: "EINVAL" });
    expect(lab.invalidate(nested, [], { type: 1 })).toEqual({ done: 0, result: "EINVAL" });
    expect(lab.invalidate(nested, one, { length: 16 })).toEqual({ done: 0, result: "EINVAL" });
    expect(lab.invalidate(nested, one, { length: 32 })).toEqual({ done: 0, result: "EINVAL" });
    expect(lab.invalidate(nested, one, { length: 4097 })).toEqual({ done: 0, result: "EINVAL" });
    expect(lab.invalidate(nested, one, { list: 0n })).toEqual({ done: 0, result: "EINVAL" });
    expect(lab.invalidate(nested, one, { list: 16n })).toEqual({ done: 0, result: "EFAULT" });
    expect(lab.invalidate(nested, one, { count: 2 ** 19 + 1 })).toEqual({ done: 0, result: "EINVAL" });
    expect(lab.invalidate(parent, one)).toEqual({ done: 0, result: "EINVAL" });
    expect(lab.invalidate(99, one)).toEqual({ done: 0, result: "ENOENT" });
  });
});

test("an IOMMU without nesting makes no parents", () => {
  const { nesting: _, ...iommu } = LAB.iommu;
  const other = new NestingLab({ ...LAB, iommu });
  const device = other.device(PLAIN);
  expect(other.hwpt(other.iommu, device.id, other.space, NEST_PARENT)).toBe("EOPNOTSUPP");
  expect(other.nested(device.id, other.hwpt(other.iommu, device.id, other.space))).toBe("EINVAL");
});
