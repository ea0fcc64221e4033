import { describe, expect, test } from "vitest";
import { Host } from "../../../src/host/host.ts";
import { NoTarget } from "../../../src/iommu/dma-target.ts";
import type { FirstStage } from "../../../src/iommu/proposed.ts";
import { parseHost } from "../../../src/machine/parse-host.ts";
import { parseCapabilityChain } from "../../../src/uapi/capability-chain.ts";
import { type DescriptorKind, encodeDescriptor } from "../../../src/uapi/intel-invalidation.ts";
import * as rfc from "../../../src/uapi/rfc-2017.ts";
import { VFIO_SET_IOMMU } from "../../../src/uapi/vfio.ts";
import { VfioIommuType1Info } from "../../../src/uapi/vfio-type1.ts";
import type { Container } from "../../../src/vfio/container.ts";
import type { NestingBackend } from "../../../src/vfio/nesting/nesting-backend.ts";
import { NestingContainer } from "../../../src/vfio/nesting/nesting-container.ts";
import type { Type1Iommu } from "../../../src/vfio/type1/iommu.ts";
import type { Result } from "../program.ts";
import {
  BACKED,
  BACKED_TOO,
  dmaRead,
  EDU,
  type Guest,
  NestingProgram,
  nestingHost,
  OTHER_EDU,
  PLAIN,
} from "./nesting-program.ts";

const PARENT = "0000:05:00.0";
const NESTING = 6;
const NOTHING = { requesters: 0, domains: 0, entries: 0, tablePages: 0, secondLevels: 0, pasids: 0, chosenPasids: 0 };

function op(program: NestingProgram, container: Result, number: number, data: Uint8Array): Result {
  const head = rfc.VfioIommuOperation.encode({ argsz: 16 + data.length, op: number });
  return program.ioctlBytes(container, rfc.VFIO_IOMMU_OP, new Uint8Array([...head, ...data]));
}

function nestingOf(program: NestingProgram, container: Result): NestingContainer {
  return ((program.task.files.get(Number(container)) as Container).backend as NestingBackend).container;
}

/** Somebody who has containers of their own on a host. */
class Tenant {
  readonly program: NestingProgram;
  readonly container: Result;
  readonly groups: Result[] = [];
  readonly guest: Guest;

  constructor(host: Host, groups: readonly number[], value: bigint, type = 3) {
    this.program = new NestingProgram(host);
    const { container, group } = this.program.container(groups[0]!, type);
    this.container = container;
    this.groups.push(group);
    for (const more of groups.slice(1)) this.groups.push(this.add(more));
    this.guest = this.program.guest(container);
    this.program.poke64(this.guest.memory + 4 * 4096, value);
  }

  add(group: number): Result {
    return this.program.add(this.container, group);
  }

  bind(pasid: number, change: Record<string, unknown> = {}): Result {
    const facts = { model: 1, table: this.guest.root, pasid, addr_width: 48, ...change };
    return op(this.program, this.container, 3, rfc.IommuPageTableBind.encode(facts));
  }

  unbind(pasid: number): Result {
    return this.bind(pasid, { flags: 1 });
  }

  bindTable(flags = 0): Result {
    const facts = { model: 1, table: this.guest.page(12), pasid_bits: 10, flags };
    return op(this.program, this.container, 1, rfc.IommuPasidTableBind.encode(facts));
  }

  invalidate(facts: Record<string, unknown> = {}): Result {
    return op(this.program, this.container, 4, rfc.IommuTlbInvalidate.encode({ model: 1, ...facts }));
  }

  descriptor(kind: DescriptorKind, fields: Record<string, number>): Result {
    const data = rfc.IntelIommuInvalidateData.encode(encodeDescriptor(kind, fields));
    const head = rfc.IommuTlbInvalidate.encode({ model: 1, flags: 4, length: data.length });
    return op(this.program, this.container, 4, new Uint8Array([...head, ...data]));
  }

  read(device: string, pasid: number | undefined, address = 0n): bigint | string {
    return dmaRead(this.program, this.container, device, pasid, address);
  }
}

/** As nestingHost(), with more of one parent, and the parent itself for VFIO; group 7 is in another segment, with the bus numbers of group 3. */
function sharingHost(): Host {
  const text = `
name: sharing
api: rfc-2017
iommu: { model: intel-vtd-sm, address_bits: 48 }
groups:
  - { id: 3, devices: [{ bdf: ${EDU}, id: "1234:11e8" }] }
  - { id: 4, devices: [{ bdf: ${OTHER_EDU}, id: "1234:11e8" }] }
  - { id: 5, devices: [{ bdf: ${PARENT}, id: "1234:11e8" }] }
  - { id: 7, devices: [{ bdf: 0001:03:00.0, id: "1234:11e8" }] }
  - { id: 11, devices: [{ uuid: ${BACKED}, parent: ${PARENT}, type: idxd-1, iommu_backed: true }] }
  - { id: 12, devices: [{ uuid: ${BACKED_TOO}, parent: ${PARENT}, type: idxd-1, iommu_backed: true }] }
  - { id: 20, devices: [{ uuid: ${PLAIN}, parent: ${PARENT}, type: idxd-2 }] }
`;
  return new Host(parseHost(text, "sharing.yaml"));
}

describe("guests that choose their PASIDs", () => {
  test("may choose the same on one parent, and each reaches its own memory", () => {
    const host = sharingHost();
    const [anna, bert] = [new Tenant(host, [11], 0xaan), new Tenant(host, [12], 0xbbn)];
    for (const pasid of [1, 2, 3, 7]) expect([anna.bind(pasid), bert.bind(pasid)]).toEqual([0, 0]);
    for (const pasid of [1, 2, 3, 7]) {
      expect([anna.read(BACKED, pasid), bert.read(BACKED_TOO, pasid)]).toEqual([0xaan, 0xbbn]);
    }
    // own invalidations reach one's own translations, and no others
    anna.guest.point(0n, 9);
    bert.guest.point(0n, 9);
    expect(anna.descriptor("pasidIotlb", { granularity: 2, pasid: 7 })).toBe(0);
    expect([anna.read(BACKED, 7), bert.read(BACKED_TOO, 7), anna.read(BACKED, 2)]).toEqual([9n, 0xbbn, 0xaan]);
    expect(anna.invalidate({ scope: 1, pasid: 2 })).toBe(0);
    expect([anna.read(BACKED, 2), bert.read(BACKED_TOO, 2)]).toEqual([9n, 0xbbn]);
    expect(anna.unbind(7)).toBe(0);
    expect(anna.read(BACKED, 7)).toMatch(/not bound for it/);
    expect(bert.read(BACKED_TOO, 7)).toBe(0xbbn);
  });

  test("do not reach what others bind on the parent of a device that joins them later", () => {
    const host = sharingHost();
    const anna = new Tenant(host, [3], 0xaan);
    expect(anna.bind(7)).toBe(0);
    expect(anna.add(11)).toBeTypeOf("number");
    expect(anna.read(BACKED, 7)).toMatch(/not bound for it/);
    const bert = new Tenant(host, [12], 0xbbn);
    for (let pasid = 1; pasid < 9; pasid++) expect(bert.bind(pasid)).toBe(0);
    for (let pasid = 1; pasid < 12; pasid++) expect(anna.read(BACKED, pasid)).toMatch(/not bound for it/);
    expect(anna.bind(7)).toBe("EBUSY");
    expect(anna.read(EDU, 7)).toBe(0xaan);
    expect(anna.read(BACKED, undefined, anna.guest.page(6))).toBe(6n);
  });

  test("a PCI function that joins later has nothing that was bound before", () => {
    const anna = new Tenant(sharingHost(), [3], 0xaan);
    expect(anna.bind(7)).toBe(0);
    const other = anna.add(4);
    expect(anna.read(OTHER_EDU, 7)).toMatch(/0x59/);
    expect(anna.bind(7)).toBe("EBUSY");
    expect(anna.unbind(7)).toBe(0);
    expect(anna.bind(7)).toBe(0);
    expect([anna.read(EDU, 7), anna.read(OTHER_EDU, 7)]).toEqual([0xaan, 0xaan]);
    anna.program.unsetContainer(other);
    expect(anna.read(EDU, 7)).toBe(0xaan);
  });

  test("a second mediated device does its plain DMA through its own aux domain, not by a guest's table", () => {
    const anna = new Tenant(sharingHost(), [11], 0xaan);
    for (let pasid = 1; pasid < 6; pasid++) expect(anna.bind(pasid)).toBe(0);
    expect(anna.add(12)).toBeTypeOf("number");
    expect(anna.read(BACKED_TOO, undefined, anna.guest.page(6))).toBe(6n);
    expect(anna.read(BACKED_TOO, undefined, 0n)).toMatch(/second level/);
    for (let pasid = 1; pasid < 6; pasid++) anna.unbind(pasid);
    expect(anna.read(BACKED_TOO, undefined, anna.guest.page(6))).toBe(6n);
    expect(anna.read(BACKED, 2)).toMatch(/not bound/);
  });

  test("numbers of a PCI function and of a mediated device in one container do not meet in the IOTLB", () => {
    const anna = new Tenant(sharingHost(), [3, 11], 0xaan);
    // what the device has for itself is the host's 1, and what 1 of the guest's is translated to is 2
    expect([anna.bind(1), anna.bind(2)]).toEqual([0, 0]);
    expect(anna.read(BACKED, undefined, anna.guest.page(6))).toBe(6n);
    expect(anna.read(EDU, 1, anna.guest.page(6))).toMatch(/0x71/);
    expect(anna.read(EDU, 1)).toBe(0xaan);
    anna.unbind(1);
    const other = anna.program.memory(4096);
    anna.program.poke64(other, 0xccn);
    expect(op(anna.program, anna.container, 2, rfc.IommuPasidBind.encode({ pasid: 1 }))).toBe(0);
    expect([anna.read(BACKED, 2), anna.read(EDU, 2), anna.read(EDU, 1, BigInt(other))]).toEqual([0xaan, 0xaan, 0xccn]);
    expect(anna.read(BACKED, 1, BigInt(other))).toBe(0xccn);
  });

  test("count against their process's quota", () => {
    const host = sharingHost();
    host.parameters.write("vfio_iommu_type1/pasid_quota", "3");
    const anna = new Tenant(host, [11], 0xaan);
    expect([1, 2, 3, 4].map((pasid) => anna.bind(pasid))).toEqual([0, 0, 0, "ENOSPC"]);
    expect(anna.program.reason).toMatch(/has 3 PASIDs.*pasid_quota is 3/);
    expect(op(anna.program, anna.container, 2, rfc.IommuPasidBind.encode({ pasid: 9 }))).toBe("ENOSPC");
    expect(new Tenant(host, [3], 0xbbn).bind(4)).toBe(0);
    anna.unbind(2);
    expect(anna.bind(4)).toBe(0);
    anna.program.task.exit();
    expect(new Tenant(host, [11], 0xaan).bind(1)).toBe(0);
  });
});

describe("a parent that VFIO has too", () => {
  test("shares numbers with nobody: who comes second is refused, and the reason names both", () => {
    const host = sharingHost();
    const [anna, parent] = [new Tenant(host, [11], 0xaan), new Tenant(host, [5], 0xddn)];
    expect(anna.bind(7)).toBe(0);
    // 1 is the aux domain's, 2 what 7 is translated to
    for (const pasid of [1, 2]) {
      expect(parent.read(PARENT, pasid, anna.guest.page(6))).toMatch(/0x59/);
      expect(parent.bind(pasid)).toBe("EBUSY");
      expect(parent.program.reason).toMatch(
        new RegExp(`PASID ${pasid} of ${PARENT} belongs to the container of group 11.*; the container of group 5 `),
      );
    }
    expect(parent.bind(7)).toBe(0);
    expect([parent.read(PARENT, 7), anna.read(BACKED, 7)]).toEqual([0xddn, 0xaan]);
    // and the host passes over what the parent's user has
    expect(parent.bind(3)).toBe(0);
    expect(anna.bind(8)).toBe(0);
    expect([parent.read(PARENT, 3), anna.read(BACKED, 8)]).toEqual([0xddn, 0xaan]);
  });

  test("keeps the host's table while others have entries there, and lets nobody in while it has its own", () => {
    const host = sharingHost();
    const [anna, parent] = [new Tenant(host, [11], 0xaan), new Tenant(host, [5], 0xddn)];
    expect(parent.bindTable()).toBe("EBUSY");
    expect(parent.program.reason).toMatch(/container of group 11 .*container of group 5 /);
    anna.program.close(anna.groups[0]!);
    expect(parent.bindTable()).toBe(0);
    const before = host.iommuUse;
    const bert = new NestingProgram(host);
    expect(() => bert.container(12)).toThrow(/EBUSY.*container of group 5 .*container of group 12 /);
    expect(host.iommuUse).toEqual(before);
    bert.task.exit();
    expect(parent.bindTable(1)).toBe(0);
    expect(new Tenant(host, [12], 0xbbn).bind(7)).toBe(0);
  });
});

test("equal bus numbers in two segments are two devices", () => {
  const host = sharingHost();
  const [anna, bert] = [new Tenant(host, [3], 0xaan), new Tenant(host, [7], 0xbbn)];
  const there = "0001:03:00.0";
  expect(anna.bind(7)).toBe(0);
  expect(bert.read(there, 7)).toMatch(/0x59/);
  expect(bert.bind(7)).toBe(0);
  expect([anna.read(EDU, 7), bert.read(there, 7)]).toEqual([0xaan, 0xbbn]);
  anna.guest.point(0n, 9);
  bert.guest.point(0n, 9);
  expect(anna.invalidate()).toBe(0);
  expect([anna.read(EDU, 7), bert.read(there, 7)]).toEqual([9n, 0xbbn]);
  expect(anna.bindTable()).toBe("EBUSY");
  anna.unbind(7);
  expect(anna.bindTable()).toBe(0);
  expect(bert.read(there, 7)).toBe(0xbbn);
});

test("two containers of one process, one parent: a PASID of the process is bound in one of them (vsva-v1)", () => {
  const program = new NestingProgram(nestingHost("vsva-v1"));
  const { container: first } = program.container(11, NESTING);
  const { container: second } = program.container(3, NESTING);
  const pasid = program.allocV1(first);
  expect(program.bindV1(second, pasid, program.guest(second).root)).toBe(0);
  expect(program.add(second, 12)).toBeTypeOf("number");
  expect(program.bindV1(first, pasid, program.guest(first).root)).toBe(0);
  expect(dmaRead(program, first, BACKED, pasid, 0n)).toBe(4n);
  expect(dmaRead(program, second, BACKED_TOO, pasid, 0n)).toMatch(/not bound for it/);
  // a PASID that is freed goes wherever it is bound
  expect(program.freeV1(first, pasid)).toBe(0);
  expect(dmaRead(program, first, BACKED, pasid, 0n)).toMatch(/not bound for it/);
  expect(dmaRead(program, second, EDU, pasid, 0n)).toMatch(/0x59/);
});

test("two mediated devices of one container share an entry of their parent's, as long as one of them is there (vsva-v1)", () => {
  for (const leaves of [11, 12]) {
    const program = new NestingProgram(nestingHost("vsva-v1"));
    const { container, group } = program.container(11, NESTING);
    const other = program.add(container, 12);
    const pasid = program.allocV1(container);
    expect(program.bindV1(container, pasid, program.guest(container).root)).toBe(0);
    for (const device of [BACKED, BACKED_TOO]) expect(dmaRead(program, container, device, pasid, 0n)).toBe(4n);
    expect(program.unsetContainer(leaves === 11 ? group : other)).toBe(0);
    expect(dmaRead(program, container, leaves === 11 ? BACKED_TOO : BACKED, pasid, 0n)).toBe(4n);
  }
});

test("a group that is taken out reaches nothing any more, by any request", () => {
  const anna = new Tenant(sharingHost(), [3, 11], 0xaan);
  expect(anna.bind(7)).toBe(0);
  const { groups } = anna.program.task.files.get(Number(anna.container)) as Container;
  const ports = groups.map((group) => group.port(group.iommuGroup.deviceNames[0]!));
  const reads = () =>
    ports.flatMap((port) =>
      [port, port.withPasid({ pasid: 7, privileged: false, ats: false })].map(
        (target) => target.read(anna.guest.page(6), new Uint8Array(8))?.reason ?? "read",
      ),
    );
  expect(reads().filter((reason) => reason === "read").length).toBe(2);
  for (const group of anna.groups) expect(anna.program.unsetContainer(group)).toBe(0);
  for (const reason of reads()) expect(reason).toMatch(/in no container/);
});

describe("a device without IOMMU that joins", () => {
  test("takes nothing from the others: what is bound can be flushed and unbound", () => {
    const anna = new Tenant(sharingHost(), [3], 0xaan);
    expect(anna.bind(7)).toBe(0);
    expect(anna.read(EDU, 7)).toBe(0xaan);
    expect(anna.add(20)).toBeTypeOf("number");
    anna.guest.point(0n, 9);
    for (const [i, flush] of [
      () => anna.invalidate(),
      () => anna.invalidate({ scope: 1, pasid: 7 }),
      () => anna.descriptor("pasidIotlb", { granularity: 2, pasid: 7 }),
    ].entries()) {
      anna.guest.point(0n, 9 + i);
      expect(flush()).toBe(0);
      expect(anna.read(EDU, 7)).toBe(9n + BigInt(i));
    }
    expect(anna.bind(8)).toBe("ENODEV");
    expect(anna.program.reason).toContain(PLAIN);
    expect(anna.unbind(7)).toBe(0);
    expect(anna.read(EDU, 7)).toMatch(/0x59/);
    expect([anna.unbind(7), anna.invalidate()]).toEqual(["ENODEV", "ENODEV"]);
  });

  test("also under a PASID table of the guest's, and in vsva-v1", () => {
    const anna = new Tenant(sharingHost(), [3], 0xaan);
    expect(anna.bindTable()).toBe(0);
    anna.add(20);
    expect(anna.descriptor("pasidCache", { granularity: 0 })).toBe(0);
    expect(anna.bindTable(1)).toBe(0);
    const program = new NestingProgram(nestingHost("vsva-v1"));
    const { container } = program.container(3, NESTING);
    const pasid = program.allocV1(container);
    const guest = program.guest(container);
    program.bindV1(container, pasid, guest.root);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toBe(4n);
    program.add(container, 20);
    guest.point(0n, 9);
    expect(program.invalidateV1(container, 1, 0)).toBe(0);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toBe(9n);
    expect(program.unbindV1(container, pasid)).toBe(0);
    expect(program.invalidateV1(container, 1, 0)).toBe("ENODEV");
  });
});

describe("GET_INFO", () => {
  const support = (program: NestingProgram, container: Result) => {
    const info = program.info(container);
    const chain = parseCapabilityChain(info, VfioIommuType1Info.decode(info).cap_offset, VfioIommuType1Info.size);
    return rfc.VfioIommuOpProbe.decode(chain.find(({ id }) => id === 4)!.body).ops;
  };

  test("follows who is in the container", () => {
    const anna = new Tenant(sharingHost(), [3], 0xaan);
    const alone = support(anna.program, anna.container);
    expect(alone).toBe(0b11110);
    const backed = anna.add(11);
    expect(support(anna.program, anna.container)).toBe(0b11100);
    const plain = anna.add(20);
    expect(support(anna.program, anna.container)).toBe(0);
    for (const group of [plain, backed]) expect(anna.program.unsetContainer(group)).toBe(0);
    expect(support(anna.program, anna.container)).toBe(alone);
  });

  test("says where the chain is that it says there is, on kernels that have none of their own as well", () => {
    for (const [api, kernel] of [
      ["rfc-2017", "5.3"],
      ["vsva-v7", "5.3"],
      ["rfc-2017", "5.4"],
      ["vsva-v7", "6.12"],
    ] as const) {
      const program = new NestingProgram(nestingHost(api, kernel));
      const info = program.info(program.container(3, NESTING).container);
      const { flags, cap_offset: offset } = VfioIommuType1Info.decode(info);
      expect([(flags & 2) !== 0, offset !== 0], `${api} ${kernel}`).toEqual([true, true]);
    }
  });
});

describe("what containers take they give back", () => {
  test.each([
    ["rfc-2017", 3],
    ["vsva-v1", NESTING],
    ["vsva-v7", NESTING],
  ])("%s: closed in every order, nothing is left", (api, type) => {
    const orders = [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ];
    const host = nestingHost(api);
    for (const order of orders) {
      const program = new NestingProgram(host);
      const { container, group } = program.container(11, type);
      const guest = program.guest(container);
      if (api === "rfc-2017") {
        const table = rfc.IommuPageTableBind.encode({ model: 1, table: guest.root, pasid: 7, addr_width: 48 });
        expect(op(program, container, 3, table)).toBe(0);
        expect(op(program, container, 2, rfc.IommuPasidBind.encode({ pasid: 9 }))).toBe(0);
      } else if (api === "vsva-v1") {
        expect(program.bindV1(container, program.allocV1(container), guest.root)).toBe(0);
      } else {
        expect(program.pasidV7(container, 1, 1, 99)).toBeTypeOf("number");
      }
      const device = program.deviceFd(group, BACKED);
      expect(host.iommuUse.pasids).toBeGreaterThan(1);
      for (const which of order) program.close([container, group, device][which]!);
      expect(host.iommuUse, `${order}`).toEqual(NOTHING);
    }
  });

  test("20,000 of them one after another, with and without a bind", () => {
    const host = sharingHost();
    const program = new NestingProgram(host);
    const group = program.open("/dev/vfio/11");
    const blocked = new Tenant(host, [3], 0xaan);
    const before = host.iommuUse;
    const table = rfc.IommuPageTableBind.encode({ model: 1, table: 0x10_0000n, pasid: 7, addr_width: 48 });
    for (let i = 0; i < 20_000; i++) {
      const container = program.open("/dev/vfio/vfio");
      const steps = [program.setContainer(group, container), program.ioctl(container, VFIO_SET_IOMMU, 3)];
      if (i % 4 === 0) steps.push(op(program, container, 3, table));
      if (i % 4 !== 1) steps.push(program.unsetContainer(group));
      steps.push(program.close(container));
      if (i % 4 === 1) steps.push(program.unsetContainer(group));
      if (steps.some((step) => step !== 0)) throw new Error(`container ${i}: ${steps} ${program.reason}`);
    }
    expect(host.iommuUse).toEqual(before);
    expect(blocked.bind(7)).toBe(0);
    expect(blocked.read(EDU, 7)).toBe(0xaan);
  }, 300_000);

  test("200,000 more, of their part of the IOMMU alone", () => {
    const host = sharingHost();
    const anna = new Tenant(host, [11], 0xaan);
    const [group] = (anna.program.task.files.get(Number(anna.container)) as Container).groups;
    const { hardware } = nestingOf(anna.program, anna.container);
    const iommu = { context: { numberParameter: () => 1000 } } as unknown as Type1Iommu;
    const first = { table: { root: 0n, levels: 4 }, supervisor: false, execute: false } as FirstStage;
    const before = host.iommuUse;
    for (let i = 0; i < 200_000; i++) {
      const container = new NestingContainer(hardware, iommu, new NoTarget("nothing"), { name: "test", pid: i });
      container.join(group!);
      if (i % 8 === 0) container.bind(7, first, anna);
      if (i % 8 === 1) expect(host.iommuUse.pasids).toBe(before.pasids + 1);
      if (i % 2 === 0) container.leave(group!);
      container.release();
    }
    expect(host.iommuUse).toEqual(before);
    expect(anna.bind(7)).toBe(0);
    expect(anna.read(BACKED, 7)).toBe(0xaan);
  }, 300_000);
});
