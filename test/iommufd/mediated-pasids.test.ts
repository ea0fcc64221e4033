import { beforeEach, describe, expect, test, vi } from "vitest";
import { VtdTables } from "../../src/iommu/vtd/tables.ts";
import { fail } from "../../src/kernel/errors.ts";
import type { HostDescription } from "../../src/machine/host-description.ts";
import { parseHost } from "../../src/machine/parse-host.ts";
import type { VfioGroup } from "../../src/vfio/group.ts";
import type { GroupFile } from "../../src/vfio/group-file.ts";
import type { Result } from "../vfio/program.ts";
import { ENABLE, NEST_PARENT, NestingLab, PASID_FLAG, page } from "./nesting-lab.ts";

const MDEV = "11111111-0000-0000-0000-000000000001";

/** An edu that is the parent of a mediated device, and one more. The host speaks a proposal, so that the mediated device can do DMA. */
const HOST: HostDescription = parseHost(
  `
name: shared-parent
kernel: "7.2"
api: rfc-2017
iommufd: true
iommu: { model: intel-vtd-sm, nesting: true }
groups:
  - { id: 5, devices: [{ bdf: 0000:05:00.0, id: "1234:11e8", pasid: true, ats: true, pri: true }] }
  - { id: 6, devices: [{ bdf: 0000:06:00.0, id: "1234:11e8", pasid: true, ats: true, pri: true }] }
  - { id: 11, devices: [{ uuid: ${MDEV}, parent: 0000:05:00.0, type: uvfio-sample, model: sample, iommu_backed: true }] }
`,
  "shared-parent.yaml",
);
const [PARENT, OTHER, MEDIATED] = [0, 1, 2].map((n) => `/dev/vfio/devices/vfio${n}`) as [string, string, string];

let lab: NestingLab;
let parent: ReturnType<NestingLab["device"]>;
let table: Result;

/** A group of the host's, while nobody has it open. */
function groupOf(id: number): VfioGroup {
  const fd = lab.open(`/dev/vfio/${id}`);
  const { group } = lab.task.files.get(Number(fd)) as GroupFile;
  lab.close(fd);
  return group;
}

function read(group: VfioGroup, device: string, pasid: number | undefined, address: bigint): bigint | string {
  const port = group.dma.port(device);
  const target = pasid === undefined ? port : port.withPasid({ pasid, privileged: false, ats: true });
  const bytes = new Uint8Array(8);
  const fault = target.read(address, bytes);
  return fault ? fault.reason : new DataView(bytes.buffer).getBigUint64(0, true);
}

beforeEach(() => {
  lab = new NestingLab(HOST);
  lab.back = page(15);
});

describe("a mediated device in an iommufd", () => {
  test("reaches nothing by the PASIDs of its parent, and changes nothing in the parent's table", () => {
    const group = groupOf(11);
    parent = lab.device(PARENT);
    table = lab.hwpt(lab.iommu, parent.id, lab.space, NEST_PARENT | PASID_FLAG);
    lab.attach(parent.fd, table);
    lab.attachPasid(parent.fd, 7, table);
    expect(lab.readWord(parent.fd, page(6), ENABLE | 7n)).toBe(6n);

    const iommu = lab.iommufd();
    const fd = lab.open(MEDIATED);
    expect(lab.bind(fd, iommu)).toBeTypeOf("number");
    const space = lab.ioas(iommu);
    const attached = lab.attach(fd, space);
    expect(attached).toBeTypeOf("number");
    const use = lab.host.iommuUse;
    for (const pasid of [0, 7, 8]) expect(read(group, MDEV, pasid, page(6))).toMatch(/no PASID of its parent's/);
    expect(read(group, MDEV, undefined, page(6))).toMatch(/no PASID of its parent's/);
    // without effect, as for every device without PASIDs
    lab.detach(fd);
    const own = lab.hwpt(iommu, 1, space, PASID_FLAG);
    expect(lab.attachPasid(fd, 8, own)).toBe(own);
    for (const pasid of [0, 7, 8]) expect(read(group, MDEV, pasid, page(6))).toMatch(/no PASID of its parent's/);
    expect(lab.host.iommuUse).toEqual(use);
    expect([lab.readWord(parent.fd, page(6), ENABLE | 7n), lab.readWord(parent.fd, page(6))]).toEqual([6n, 6n]);
    expect(lab.readWord(parent.fd, page(6), ENABLE | 8n)).toBe("failed");
    lab.close(fd);
    expect(lab.readWord(parent.fd, page(6), ENABLE | 7n)).toBe(6n);
  });
});

test("numbers that a container's mediated device has in its parent's table are refused to the parent's iommufd", () => {
  const { container } = lab.container(11);
  const memory = lab.memory(4096);
  lab.poke(memory, 0xaan);
  expect(lab.map(container, 0n, memory, 4096n)).toBe(0);
  parent = lab.device(PARENT);
  const other = lab.device(OTHER);
  table = lab.hwpt(lab.iommu, parent.id, lab.space, NEST_PARENT | PASID_FLAG);
  expect(lab.attach(parent.fd, table)).toBe(table);
  const before = lab.host.iommuUse;
  // 1 is the aux domain's
  expect(lab.readWord(parent.fd, 0n, ENABLE | 1n)).toBe("failed");
  expect(lab.attachPasid(parent.fd, 1, table)).toBe("EBUSY");
  expect(lab.reason).toMatch(/PASID 1 of 0000:05:00.0 belongs to the container of group 11 .*the iommufd of process/);
  expect(lab.host.iommuUse).toEqual(before);
  expect(lab.detachPasid(parent.fd, 1)).toBe(0);
  expect(lab.attachPasid(other.fd, 1, table)).toBe(table);
  expect(lab.attachPasid(parent.fd, 2, table)).toBe(table);
  expect(lab.readWord(parent.fd, page(6), ENABLE | 2n)).toBe(6n);
});

describe("an attach or replace that fails", () => {
  beforeEach(() => {
    parent = lab.device(PARENT);
    table = lab.hwpt(lab.iommu, parent.id, lab.space, NEST_PARENT | PASID_FLAG);
  });

  test.each(["newDomain", "enter"] as const)("in %s leaves the device where it was", (step) => {
    expect(lab.attach(parent.fd, table)).toBe(table);
    expect(lab.attachPasid(parent.fd, 7, table)).toBe(table);
    const next = lab.hwpt(lab.iommu, parent.id, lab.space, NEST_PARENT | PASID_FLAG);
    const before = lab.host.iommuUse;
    vi.spyOn(VtdTables.prototype, step).mockImplementationOnce(() => fail("ENOSPC", "made to fail"));
    expect(lab.attachPasid(parent.fd, 8, next)).toBe("ENOSPC");
    expect(lab.host.iommuUse).toEqual(before);
    if (step === "newDomain") {
      vi.spyOn(VtdTables.prototype, step).mockImplementationOnce(() => fail("ENOSPC", "made to fail"));
      expect(lab.attachPasid(parent.fd, 7, next)).toBe("ENOSPC");
      vi.spyOn(VtdTables.prototype, step).mockImplementationOnce(() => fail("ENOSPC", "made to fail"));
      expect(lab.attach(parent.fd, next)).toBe("ENOSPC");
    }
    expect(lab.host.iommuUse).toEqual(before);
    vi.restoreAllMocks();
    expect([lab.readWord(parent.fd, page(6), ENABLE | 7n), lab.readWord(parent.fd, page(6))]).toEqual([6n, 6n]);
    expect(lab.destroy(lab.iommu, next)).toBe(0);
    expect(lab.destroy(lab.iommu, table)).toBe("EBUSY");
  });

  test("because the device is attached already does not detach it", () => {
    expect(lab.attach(parent.fd, table)).toBe(table);
    // number 0 is what requests without one count as: a new attach, and to an address space of which no page table serves it
    expect(lab.attachPasid(parent.fd, 0, lab.ioas(lab.iommu))).toBe("EBUSY");
    expect(lab.readWord(parent.fd, page(6))).toBe(6n);
    expect(lab.destroy(lab.iommu, table)).toBe("EBUSY");
    lab.close(parent.fd);
    expect(lab.destroy(lab.iommu, table)).toBe(0);
  });
});

test("what iommufds take they give back", () => {
  const nothing = lab.host.iommuUse;
  expect(Object.values(nothing)).toEqual([0, 0, 0, 0, 0, 0, 0]);
  for (let i = 0; i < 50; i++) {
    parent = lab.device(PARENT);
    table = lab.hwpt(lab.iommu, parent.id, lab.space, NEST_PARENT | PASID_FLAG);
    const nested = lab.nested(parent.id, table, { flags: PASID_FLAG });
    lab.attach(parent.fd, nested);
    lab.attachPasid(parent.fd, 1 + i * 64, table);
    lab.attachPasid(parent.fd, 2, nested);
    lab.attachPasid(parent.fd, 2, table);
    expect(lab.host.iommuUse).toMatchObject({ domains: 2, entries: 3 });
    lab.close(parent.fd);
    for (const id of [nested, table]) expect(lab.destroy(lab.iommu, id)).toBe(0);
    expect(lab.host.iommuUse).toEqual(nothing);
  }
});
