import { beforeEach, describe, expect, test } from "vitest";
import { ABLE, ATS, ENABLE, LAB, NEST_PARENT, NestingLab, PASID_FLAG, PLAIN, page } from "./nesting-lab.ts";

const PASIDS = 2 ** 20;

let lab: NestingLab;
let able: ReturnType<NestingLab["device"]>;
let parent: number | string;
let warnings: string[];

beforeEach(() => {
  warnings = [];
  lab = new NestingLab(undefined, (message) => warnings.push(message));
  able = lab.device(ABLE);
  parent = lab.hwpt(lab.iommu, able.id, lab.space, NEST_PARENT | PASID_FLAG);
  lab.back = page(15);
});

const with_ = (pasid: number, ats = false) => ENABLE | BigInt(pasid) | (ats ? ATS : 0n);

describe.each([
  ["through the IOMMU's TLB", false],
  ["through the device's own", true],
])("requests with a PASID, %s,", (_where, ats) => {
  test("reach what is attached with it", () => {
    lab.attach(able.fd, parent);
    const other = lab.ioas(lab.iommu);
    lab.mapIoas(lab.iommu, other, lab.guest + 10 * 4096, 4096n, { iova: 0n });
    const plain = lab.hwpt(lab.iommu, able.id, other, PASID_FLAG);
    expect(lab.attachPasid(able.fd, 7, plain)).toBe(plain);
    expect(lab.attachPasid(able.fd, 8, lab.nested(able.id, parent, { flags: PASID_FLAG }))).toBeTypeOf("number");
    expect(lab.attachPasid(able.fd, PASIDS - 1, parent)).toBe(parent);
    expect(lab.readWord(able.fd, 0n, with_(7, ats))).toBe(10n);
    expect(lab.readWord(able.fd, 0n, with_(8, ats))).toBe(4n);
    expect(lab.readWord(able.fd, page(6), with_(PASIDS - 1, ats))).toBe(6n);
    expect(lab.readWord(able.fd, page(7))).toBe(7n);
    expect(lab.readWord(able.fd, 0n, with_(9, ats))).toBe("failed");
    expect(warnings.join()).toContain("PASID 9: VT-d fault 0x59");
  });

  test("lose it with a detach, an unmap or the end", () => {
    lab.attach(able.fd, parent);
    const nested = lab.nested(able.id, parent, { flags: PASID_FLAG });
    lab.attachPasid(able.fd, 8, nested);
    expect(lab.readWord(able.fd, 0n, with_(8, ats))).toBe(4n);
    expect(lab.destroy(lab.iommu, nested)).toBe("EBUSY");
    expect(lab.detachPasid(able.fd, 8)).toBe(0);
    expect(lab.readWord(able.fd, 0n, with_(8, ats))).toBe("failed");
    expect(lab.detachPasid(able.fd, 8)).toBe(0);
    const other = lab.ioas(lab.iommu);
    lab.mapIoas(lab.iommu, other, lab.guest + 10 * 4096, 4096n, { iova: 0n });
    lab.attachPasid(able.fd, 8, lab.hwpt(lab.iommu, able.id, other, PASID_FLAG));
    expect(lab.readWord(able.fd, 0n, with_(8, ats))).toBe(10n);
    lab.unmapIoas(lab.iommu, other, 0n, 4096n);
    expect(lab.readWord(able.fd, 0n, with_(8, ats))).toBe("failed");
    lab.close(able.fd);
    expect(lab.destroy(lab.iommu, nested)).toBe(0);
  });

  test("move with a replace", () => {
    lab.attach(able.fd, parent);
    const [first, second] = [0, 1].map(() => lab.nested(able.id, parent, { flags: PASID_FLAG }));
    lab.attachPasid(able.fd, 8, first!);
    expect(lab.readWord(able.fd, 0n, with_(8, ats))).toBe(4n);
    lab.point(0n, 5);
    expect(lab.readWord(able.fd, 0n, with_(8, ats))).toBe(4n);
    expect(lab.attachPasid(able.fd, 8, second!)).toBe(second);
    expect(lab.readWord(able.fd, 0n, with_(8, ats))).toBe(5n);
    expect(lab.destroy(lab.iommu, first!)).toBe(0);
    lab.point(0n, 6);
    expect(lab.invalidate(second!, [{ addr: 0n, npages: 1n }]).done).toBe(1);
    expect(lab.readWord(able.fd, 0n, with_(8, ats))).toBe(6n);
  });
});

describe("an attach with a PASID", () => {
  test("takes page tables that were made for it, beside such without", () => {
    const plain = lab.hwpt(lab.iommu, able.id, lab.space);
    expect(lab.attachPasid(able.fd, 5, plain)).toBe("EINVAL");
    expect(lab.reason).toContain("IOMMU_HWPT_ALLOC_PASID");
    expect(lab.attachPasid(able.fd, 5, lab.space)).toBe("EINVAL");
    expect(lab.attachPasid(able.fd, 5, 99)).toBe("ENOENT");
    expect(lab.attach(able.fd, plain)).toBe(plain);
    expect(lab.attachPasid(able.fd, 5, parent)).toBe("EINVAL");
    lab.detach(able.fd);
    expect(lab.attachPasid(able.fd, 5, parent)).toBe(parent);
    expect(lab.attach(able.fd, plain)).toBe("EINVAL");
    expect(lab.attach(able.fd, parent)).toBe(parent);
    // no page table of the failures is left
    expect(lab.hwpt(lab.iommu, able.id, lab.space)).toBe(Number(plain) + 1);
  });

  test("blocks requests without, as long as nothing is attached for them", () => {
    expect(lab.attachPasid(able.fd, 5, parent)).toBe(parent);
    lab.transfer(able.fd, page(6), false);
    expect(lab.state(able.fd)).toBe("failed");
    expect(warnings.join()).toContain("blocked");
  });

  test("has limits", () => {
    expect(lab.attachPasid(able.fd, PASIDS, parent)).toBe("EINVAL");
    expect(lab.attachPasid(able.fd, 2 ** 31, parent)).toBe("ENOSPC");
    // 0 is requests without one
    expect(lab.attachPasid(able.fd, 0, parent)).toBe(parent);
    expect(lab.readWord(able.fd, page(6))).toBe(6n);
    expect(lab.attach(able.fd, parent)).toBe("EBUSY");
    expect(lab.detach(able.fd)).toBe(0);
    expect(lab.readWord(able.fd, page(6))).toBe(6n);
    lab.detachPasid(able.fd, 0);
    expect(lab.attach(able.fd, parent)).toBe(parent);
  });

  test("has no effect on a device without PASIDs, as in the kernel", () => {
    const plain = lab.device(PLAIN);
    expect(lab.attachPasid(plain.fd, 5, parent)).toBe(parent);
    expect(lab.detachPasid(plain.fd, 5)).toBe(0);
  });

  test("came with 6.15", () => {
    const old = new NestingLab({ ...LAB, kernel: "6.14" });
    const device = old.device(ABLE);
    expect(old.attachPasid(device.fd, 5, old.space)).toBe("EINVAL");
    expect(old.reason).toContain("flag");
  });
});
