import { describe, expect, test } from "vitest";
import { Host } from "../../src/host/host.ts";
import { PROT_NONE, PROT_READ, PROT_WRITE } from "../../src/kernel/model-areas.ts";
import { parseHost } from "../../src/machine/parse-host.ts";
import { encodeDescriptor } from "../../src/uapi/intel-invalidation.ts";
import * as rfc from "../../src/uapi/rfc-2017.ts";
import { VFIO_GROUP_GET_STATUS, VFIO_SET_IOMMU, VfioGroupStatus } from "../../src/uapi/vfio.ts";
import {
  BACKED,
  BACKED_TOO,
  dmaRead,
  EDU,
  NestingProgram,
  nestingHost,
  OTHER_EDU,
} from "../vfio/nesting/nesting-program.ts";
import type { Result } from "../vfio/program.ts";

/** Situations of two users that were found by hand; the random tests and test/vfio/nesting/tenants.test.ts have the others of their kind. */

const TYPE = 3;
const PASID = 7;

function op(program: NestingProgram, container: Result, number: number, data: Uint8Array): Result {
  const head = rfc.VfioIommuOperation.encode({ argsz: 16 + data.length, op: number });
  return program.ioctlBytes(container, rfc.VFIO_IOMMU_OP, new Uint8Array([...head, ...data]));
}

function bind(program: NestingProgram, container: Result, pasid: number, table = 0x10_0000n): Result {
  const data = rfc.IommuPageTableBind.encode({ model: 1, table, pasid, addr_width: 48 });
  return op(program, container, rfc.VFIO_IOMMU_OP_BIND_PAGE_TABLE, data);
}

/** BIND_PASID, or its end. */
function bindProcess(program: NestingProgram, container: Result, pasid: number, flags = 0): Result {
  return op(program, container, rfc.VFIO_IOMMU_OP_BIND_PASID, rfc.IommuPasidBind.encode({ pasid, flags }));
}

function status(program: NestingProgram, group: Result): number {
  const bytes = VfioGroupStatus.encode({ argsz: VfioGroupStatus.size });
  program.ioctlBytes(group, VFIO_GROUP_GET_STATUS, bytes);
  return VfioGroupStatus.decode(bytes).flags;
}

test("a mediated device is attached beside another user's, whatever PASIDs that one and others have bound", () => {
  const host = nestingHost("rfc-2017");
  const users = [3, 11].map((group) => {
    const program = new NestingProgram(host);
    const { container } = program.container(group, TYPE);
    program.guest(container);
    for (let pasid = 1; pasid < 10; pasid++) expect(bind(program, container, pasid)).toBe(0);
    return { program, container, device: group === 3 ? EDU : BACKED };
  });
  const late = new NestingProgram(host);
  const { container, group } = late.container(12, TYPE);
  expect(status(late, group)).toBe(3);
  late.guest(container);
  expect(dmaRead(late, container, BACKED_TOO, undefined, 0x10_6000n)).toBe(6n);
  late.task.exit();
  for (const { program, container: theirs, device } of users) {
    for (let pasid = 1; pasid < 10; pasid++) {
      expect(dmaRead(program, theirs, device, pasid, 0n)).toBe(4n);
      expect(bind(program, theirs, pasid)).toBe("EBUSY");
    }
  }
});

test("whatever domain-id a guest writes into its descriptors, they reach its own translations and no others", () => {
  const host = nestingHost("rfc-2017");
  const [anna, bert] = [3, 4].map((group) => {
    const program = new NestingProgram(host);
    const { container } = program.container(group, TYPE);
    const guest = program.guest(container);
    expect(bind(program, container, PASID)).toBe(0);
    return {
      program,
      container,
      guest,
      read: () => dmaRead(program, container, group === 3 ? EDU : OTHER_EDU, PASID, 0n),
    };
  });
  const invalidate = (facts: Parameters<typeof encodeDescriptor>) => {
    const data = rfc.IntelIommuInvalidateData.encode(encodeDescriptor(...facts));
    const head = rfc.IommuTlbInvalidate.encode({
      model: 1,
      flags: rfc.IOMMU_INVALIDATE_VENDOR,
      length: data.length,
    });
    return op(anna!.program, anna!.container, rfc.VFIO_IOMMU_OP_INVALIDATE, new Uint8Array([...head, ...data]));
  };
  expect([anna!.read(), bert!.read()]).toEqual([4n, 4n]);
  anna!.guest.point(0n, 5);
  bert!.guest.point(0n, 5);
  for (let domain = 0; domain < 2 ** 16; domain += domain < 300 ? 1 : 997) {
    const results = [
      invalidate(["iotlb", { granularity: 2, domain }]),
      invalidate(["pasidIotlb", { granularity: 2, domain, pasid: PASID }]),
      invalidate(["pasidCache", { granularity: 1, domain, pasid: PASID }]),
      invalidate(["pasidCache", { granularity: 0, domain }]),
      invalidate(["contextCache", { granularity: 2, domain }]),
    ];
    expect(results).toEqual([0, 0, 0, 0, 0]);
  }
  expect([anna!.read(), bert!.read()]).toEqual([5n, 4n]);
});

describe("a group that a container refuses", () => {
  const PARENT = "0000:05:00.0";
  const text = `
name: parent
api: rfc-2017
iommu: { model: intel-vtd-sm, address_bits: 48 }
groups:
  - { id: 3, devices: [{ bdf: ${EDU}, id: "1234:11e8" }] }
  - { id: 5, devices: [{ bdf: ${PARENT}, id: "1234:11e8" }] }
  - { id: 12, devices: [{ uuid: ${BACKED_TOO}, parent: ${PARENT}, type: idxd-1, iommu_backed: true }] }
`;

  test("is in none: it is refused for the same reason again, and by another one, and is taken once the reason is gone", () => {
    const host = new Host(parseHost(text, "parent.yaml"));
    const owner = new NestingProgram(host);
    const { container: parent } = owner.container(5, TYPE);
    owner.guest(parent);
    const table = (flags: number) =>
      op(owner, parent, 1, rfc.IommuPasidTableBind.encode({ model: 1, table: 0x10_c000n, pasid_bits: 10, flags }));
    expect(table(0)).toBe(0);
    const user = new NestingProgram(host);
    const { container } = user.container(3, TYPE);
    user.guest(container);
    const group = user.open("/dev/vfio/12");
    for (let times = 0; times < 3; times++) {
      expect([user.setContainer(group, container), status(user, group)]).toEqual(["EBUSY", 1]);
    }
    const other = user.open("/dev/vfio/vfio");
    expect(user.setContainer(group, other)).toBe(0);
    expect([user.ioctl(other, VFIO_SET_IOMMU, TYPE), user.ioctl(other, VFIO_SET_IOMMU, TYPE)]).toEqual([
      "EBUSY",
      "EBUSY",
    ]);
    expect(user.unsetContainer(group)).toBe(0);
    // a binding is for those that are in
    expect(bind(user, container, PASID)).toBe(0);
    expect(dmaRead(user, container, EDU, PASID, 0n)).toBe(4n);
    expect(table(1)).toBe(0);
    expect([user.setContainer(group, container), status(user, group)]).toEqual([0, 3]);
    expect(dmaRead(user, container, BACKED_TOO, PASID, 0n)).toBeTypeOf("string");
    expect(dmaRead(user, container, BACKED_TOO, undefined, 0x10_6000n)).toBe(6n);
  });
});

test("a PASID of a process reaches what the process can touch, as long as it can, and not its child's", () => {
  const program = new NestingProgram(nestingHost("rfc-2017"));
  const { container } = program.container(3, TYPE);
  expect(bindProcess(program, container, PASID)).toBe(0);
  const page = program.memory(4096);
  const read = (address = page) => dmaRead(program, container, EDU, PASID, BigInt(address));
  program.poke64(page, 1n);
  expect(read()).toBe(1n);
  program.poke64(page, 2n);
  expect(read()).toBe(2n);
  const child = program.task.fork();
  child.memory.copyOut(page, new Uint8Array(8).fill(9), 8);
  expect(read()).toBe(2n);
  program.task.memory.mprotect(page, 4096, PROT_NONE);
  expect(read()).toBeTypeOf("string");
  program.task.memory.mprotect(page, 4096, PROT_READ | PROT_WRITE);
  expect(read()).toBe(2n);
  program.task.memory.munmap(page, 4096);
  expect([read(), read(0)].map((answer) => typeof answer)).toEqual(["string", "string"]);
  expect([bindProcess(program, container, PASID), bind(program, container, PASID)]).toEqual(["EBUSY", "EBUSY"]);
  expect([0, 2 ** 20].map((pasid) => bindProcess(program, container, pasid))).toEqual(["EINVAL", "EINVAL"]);
  expect(bindProcess(program, container, PASID, 1)).toBe(0);
  expect(read(program.memory(4096))).toBeTypeOf("string");
});
