import { beforeEach, describe, expect, test } from "vitest";
import { pciDevice } from "../../src/machine/describe.ts";
import type { HostDescription } from "../../src/machine/host-description.ts";
import { ABLE, LAB, NestingLab, PLAIN } from "./nesting-lab.ts";

const [NEST_PARENT, PASID_FLAG] = [1, 8];
const ENABLE = 1n << 31n;

const EDU = { vendor: 0x1234, device: 0x11e8 };
const able = (bdf: string) => pciDevice({ bdf, ...EDU, translation: { pasid: true, ats: true, pri: true } });
const plain = (bdf: string) => pciDevice({ bdf, ...EDU });

/** LAB with two devices in one group. */
function together(second: ReturnType<typeof plain>): HostDescription {
  const [group] = LAB.groups;
  return { ...LAB, groups: [{ ...group!, devices: [able("0000:01:00.0"), second] }] };
}

describe("two devices of one group", () => {
  let lab: NestingLab;
  let first: ReturnType<NestingLab["device"]>;
  let second: ReturnType<NestingLab["device"]>;
  let parent: number | string;

  beforeEach(() => {
    lab = new NestingLab(together(able("0000:01:01.0")));
    first = lab.device(ABLE!);
    second = lab.device(PLAIN!);
    parent = lab.hwpt(lab.iommu, first.id, lab.space, NEST_PARENT | PASID_FLAG);
  });

  test("share a nested page table, and each has its own requests", () => {
    const nested = lab.nested(first.id, parent);
    expect(lab.attach(first.fd, nested)).toBe(nested);
    expect(lab.attach(second.fd, parent)).toBe("EINVAL");
    expect(lab.attach(second.fd, nested)).toBe(nested);
    expect([lab.readWord(first.fd, 0n), lab.readWord(second.fd, 0n)]).toEqual([4n, 4n]);
    lab.point(0n, 5);
    expect([lab.readWord(first.fd, 0n), lab.readWord(second.fd, 0n)]).toEqual([4n, 4n]);
    // each device's own TLB is told
    lab.invalidate(nested, [{ addr: 0n, npages: 1n }]);
    expect([lab.readWord(first.fd, 0n), lab.readWord(second.fd, 0n)]).toEqual([5n, 5n]);
    lab.detach(first.fd);
    // the group stays attached as long as one of its devices is
    expect(lab.readWord(second.fd, 0n)).toBe(5n);
    lab.detach(second.fd);
    expect(lab.destroy(lab.iommu, nested)).toBe(0);
  });

  test("ask for pages under the id of the one that was attached first", () => {
    const queue = lab.faultQueue();
    const nested = lab.nested(first.id, parent, { fault: queue.id });
    lab.attach(first.fd, nested);
    lab.attach(second.fd, nested);
    lab.point(0x5000n, undefined);
    lab.transfer(second.fd, 0x5000n, false);
    lab.transfer(first.fd, 0x5000n, false);
    expect(lab.faults(queue.fd)).toMatchObject([
      { dev_id: first.id, grpid: 0, cookie: 1 },
      { dev_id: first.id, grpid: 0, cookie: 2 },
    ]);
    lab.point(0x5000n, 9);
    // answered out of order
    expect(lab.respond(queue.fd, [2, 0], [1, 1])).toBe(16);
    expect([lab.state(first.fd), lab.state(second.fd)]).toEqual(["done", "failed"]);
    // a replace by the other one makes that one's id count
    lab.point(0x5000n, undefined);
    const other = lab.nested(first.id, parent, { fault: queue.id });
    lab.attach(second.fd, other);
    lab.transfer(first.fd, 0x5000n, false);
    expect(lab.faults(queue.fd)).toMatchObject([{ dev_id: second.id, grpid: 1, cookie: 1 }]);
  });

  test("share what is attached with a PASID", () => {
    lab.attach(first.fd, parent);
    lab.attach(second.fd, parent);
    lab.back = 0x10_f000n;
    const nested = lab.nested(first.id, parent, { flags: PASID_FLAG });
    expect(lab.attachPasid(first.fd, 5, nested)).toBe(nested);
    // the table is the group's, whoever attached it
    expect(lab.readWord(second.fd, 0n, ENABLE | 5n)).toBe(4n);
    expect(lab.attachPasid(second.fd, 5, parent)).toBe("EINVAL");
    expect(lab.attachPasid(second.fd, 5, nested)).toBe(nested);
    lab.close(first.fd);
    expect(lab.readWord(second.fd, 0n, ENABLE | 5n)).toBe(4n);
    lab.detachPasid(second.fd, 5);
    expect(lab.readWord(second.fd, 0n, ENABLE | 5n)).toBe("failed");
  });
});

test("a group takes page requests only when all of its devices can make them", () => {
  const lab = new NestingLab(together(plain("0000:01:01.0")));
  const first = lab.device(ABLE!);
  const parent = lab.hwpt(lab.iommu, first.id, lab.space, NEST_PARENT);
  const nested = lab.nested(first.id, parent, { fault: lab.faultQueue().id });
  expect(lab.attach(first.fd, nested)).toBe("ENODEV");
  expect(lab.reason).toContain("0000:01:01.0");
});
