import { describe, expect, test } from "vitest";
import { IommuInvAddrInfo, IommuInvPasidInfo } from "../../../src/uapi/iommu-v510.ts";
import { VFIO_IOMMU_BIND, VFIO_IOMMU_CACHE_INVALIDATE, VFIO_IOMMU_PASID_REQUEST } from "../../../src/uapi/vsva-v1.ts";
import {
  BACKED,
  BACKED_TOO,
  dmaRead,
  EDU,
  NestingProgram,
  nestingHost,
  OTHER_EDU,
  PLAIN,
  PTE,
} from "./nesting-program.ts";

const NESTING = 6;
const [IOTLB, DEVICE, PASID_CACHE] = [1, 2, 4];
const [BY_DOMAIN, BY_PASID, BY_ADDRESS] = [0, 1, 2];

function setUp(group = 3, kernel = "6.12") {
  const program = new NestingProgram(nestingHost("vsva-v1", kernel));
  const { container } = program.container(group, NESTING);
  return { program, container, guest: program.guest(container), pasid: program.allocV1(container) };
}

const byAddress = (pasid: unknown, addr: bigint, flags = 1, count = 1n) =>
  IommuInvAddrInfo.encode({ flags, pasid: BigInt(pasid as number), addr, granule_size: 4096n, nb_granules: count });
const byPasid = (pasid: unknown) => IommuInvPasidInfo.encode({ flags: 1, pasid: BigInt(pasid as number) });

describe.each(["5.9", "6.12"])("a guest page table bound through vsva-v1, structures of %s", (kernel) => {
  test("translates, answers stale until invalidated, and is gone after unbind", () => {
    const { program, container, guest, pasid } = setUp(3, kernel);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toMatch(/0x59: .*not present/);
    expect(program.bindV1(container, pasid, guest.root), program.reason).toBe(0);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toBe(4n);
    guest.point(0n, 5);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toBe(4n);
    expect(program.invalidateV1(container, IOTLB, BY_ADDRESS, byAddress(pasid, 0n)), program.reason).toBe(0);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toBe(5n);
    guest.point(0n, 6);
    expect(program.invalidateV1(container, IOTLB | DEVICE, BY_ADDRESS, byAddress(pasid, 0x5000n))).toBe(0);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toBe(5n);
    expect(program.invalidateV1(container, IOTLB, BY_PASID, byPasid(pasid))).toBe(0);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toBe(6n);
    guest.point(0n, 7);
    expect(program.invalidateV1(container, IOTLB | PASID_CACHE, BY_DOMAIN)).toBe(0);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toBe(7n);
    expect(program.unbindV1(container, pasid)).toBe(0);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toMatch(/0x59: .*not present/);
    // it cannot fail, so that there is nothing to answer when nothing is bound
    expect(program.unbindV1(container, pasid)).toBe(0);
  });

  test("wants whole structures: argsz counts", () => {
    const { program, container, guest, pasid } = setUp(3, kernel);
    const bytes = program.bindBytes(1, pasid, guest.root);
    for (const argsz of [0, 7, 8, 12, 63]) {
      new DataView(bytes.buffer).setUint32(0, argsz, true);
      expect(program.ioctlBytes(container, VFIO_IOMMU_BIND, bytes)).toBe("EINVAL");
    }
    const cache = program.cacheBytes(IOTLB, BY_ADDRESS, byAddress(pasid, 0n));
    for (const argsz of [8, 12, 20, 47]) {
      new DataView(cache.buffer).setUint32(0, argsz, true);
      expect(program.ioctlBytes(container, VFIO_IOMMU_CACHE_INVALIDATE, cache)).toBe("EINVAL");
    }
    expect(program.ioctl(container, VFIO_IOMMU_BIND, 0x10)).toBe("EFAULT");
    expect(dmaRead(program, container, EDU, pasid, 0n)).toMatch(/not present/);
  });
});

describe("what vsva-v1 refuses", () => {
  test.each([
    ["an unknown version", { version: 2 }],
    ["an unknown format", { format: 2 }],
    ["unknown flags", { flags: 2n }],
    ["a PASID of nobody's", { hpasid: 99n }],
    ["PASID 0", { hpasid: 0n }],
    ["an odd address width", { addr_width: 39 }],
    ["a root between pages", { gpgd: 0x10_0800n }],
    ["padding", { padding: [0, 1, 0, 0, 0, 0, 0, 0] }],
    ["memory types", { vendor: { vtd: { flags: 4n, pat: 0, emt: 0 } } }],
  ])("%s", (_name, change) => {
    const { program, container, guest, pasid } = setUp();
    expect(program.bindV1(container, pasid, guest.root, change)).toBe("EINVAL");
    expect(program.reason.length).toBeGreaterThan(20);
    expect(program.bindV1(container, pasid, guest.root)).toBe(0);
    expect(program.bindV1(container, pasid, guest.root)).toBe("EBUSY");
  });

  test("caches that do not go with a granularity", () => {
    const { program, container, pasid } = setUp();
    const ok: number[][] = [[], [], []];
    for (let cache = 0; cache < 9; cache++) {
      for (const granularity of [BY_DOMAIN, BY_PASID, BY_ADDRESS]) {
        const member = [undefined, byPasid(pasid), byAddress(pasid, 0n)][granularity];
        if (program.invalidateV1(container, cache, granularity!, member) === 0) ok[granularity!]!.push(cache);
      }
    }
    expect(ok).toEqual([
      [1, 4, 5],
      [1, 2, 3, 4, 5, 6, 7],
      [1, 2, 3],
    ]);
    expect(program.invalidateV1(container, IOTLB, 3)).toBe("EINVAL");
    expect(program.invalidateV1(container, IOTLB, BY_ADDRESS, byAddress(pasid, 0n, 8))).toBe("EINVAL");
    expect(program.invalidateV1(container, IOTLB, BY_ADDRESS, byAddress(pasid, 0n, 1, 0n))).toBe("EINVAL");
    expect(program.invalidateV1(container, IOTLB, BY_ADDRESS, byAddress(pasid, 2n ** 64n - 4096n, 1, 2n))).toBe(
      "EINVAL",
    );
    expect(program.invalidateV1(container, IOTLB, BY_ADDRESS, byAddress(12345, 0n))).toBe("EINVAL");
  });

  test("requests on containers that are not for nesting, and on mainline hosts", () => {
    for (const [api, type] of [
      ["vsva-v1", 3],
      ["mainline", 3],
      ["vsva-v7", 6],
    ] as const) {
      const program = new NestingProgram(nestingHost(api));
      const { container } = program.container(3, type);
      for (const request of [VFIO_IOMMU_PASID_REQUEST, VFIO_IOMMU_BIND, VFIO_IOMMU_CACHE_INVALIDATE]) {
        expect(program.ioctlBytes(container, request, new Uint8Array(128))).toBe("ENOTTY");
      }
    }
  });
});

describe("PASIDs", () => {
  test("come from the range, up to the quota, and go back", () => {
    const { program, container, pasid } = setUp();
    expect(pasid).toBe(1);
    expect(program.allocV1(container, 500, 501)).toBe(500);
    expect(program.allocV1(container, 500, 501)).toBe(501);
    expect(program.allocV1(container, 500, 501)).toBe("ENOSPC");
    expect(program.allocV1(container, 5, 4)).toBe("EINVAL");
    expect(program.freeV1(container, 500)).toBe(0);
    expect(program.freeV1(container, 500)).toBe("EINVAL");
    expect(program.allocV1(container, 500, 501)).toBe(500);
    program.host.parameters.write("vfio_iommu_type1/pasid_quota", "3");
    expect(program.allocV1(container)).toBe("ENOSPC");
    expect(program.reason).toMatch(/quota/);
    program.host.parameters.write("vfio_iommu_type1/pasid_quota", "4");
    expect(program.allocV1(container)).toBe(2);
  });

  test("of one process are nobody else's", () => {
    const { program, container, guest, pasid } = setUp();
    const other = new NestingProgram(program.host);
    const { container: theirs } = other.container(4, NESTING);
    const theirGuest = other.guest(theirs);
    expect(other.bindV1(theirs, pasid, theirGuest.root)).toBe("EINVAL");
    expect(other.freeV1(theirs, pasid)).toBe("EINVAL");
    expect(other.invalidateV1(theirs, IOTLB, BY_PASID, byPasid(pasid))).toBe("EINVAL");
    expect(other.allocV1(theirs)).toBe(2);
    expect(program.bindV1(container, pasid, guest.root)).toBe(0);
    expect(dmaRead(other, theirs, OTHER_EDU, pasid, 0n)).toMatch(/0x59: .*not present/);
  });

  test("go when they are freed or the container is closed, with what is bound to them", () => {
    const { program, container, guest, pasid } = setUp();
    program.bindV1(container, pasid, guest.root);
    expect(program.freeV1(container, pasid)).toBe(0);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toMatch(/not present/);
    const again = program.allocV1(container);
    expect(program.bindV1(container, again, guest.root)).toBe(0);
    program.task.exit();
    const next = new NestingProgram(program.host);
    const { container: fresh } = next.container(3, NESTING);
    expect(dmaRead(next, fresh, EDU, again, 0n)).toMatch(/0x59: .*not present/);
    expect(next.allocV1(fresh)).toBe(1);
  });
});

describe("every device of every group", () => {
  test("is bound: three in one group, and those of a group that comes with it", () => {
    const { program, container } = setUp(6);
    program.add(container, 4);
    const pasid = program.allocV1(container);
    const guest = program.guest(container, 0x100_0000n);
    expect(program.bindV1(container, pasid, guest.root)).toBe(0);
    for (const device of ["0000:06:00.0", "0000:06:00.1", "0000:06:00.2", OTHER_EDU]) {
      expect(dmaRead(program, container, device, pasid, 0n)).toBe(4n);
    }
    program.unbindV1(container, pasid);
    for (const device of ["0000:06:00.0", "0000:06:00.1", "0000:06:00.2", OTHER_EDU]) {
      expect(dmaRead(program, container, device, pasid, 0n)).toMatch(/not present/);
    }
  });

  test("a bind that fails at the last device unbinds those before it", () => {
    const program = new NestingProgram(nestingHost("vsva-v1"));
    // one process, two containers: the parent of both mediated devices has the PASID bound through the first
    const { container: first } = program.container(12, NESTING);
    const { container: second } = program.container(3, NESTING);
    expect(program.add(second, 4)).toBeTypeOf("number");
    expect(program.add(second, 11)).toBeTypeOf("number");
    const pasid = program.allocV1(first);
    expect(program.bindV1(first, pasid, program.guest(first).root)).toBe(0);
    const guest = program.guest(second);
    expect(program.bindV1(second, pasid, guest.root)).toBe("EBUSY");
    expect(program.reason).toMatch(
      /PASID \d+ of 0000:05:00.0 belongs to the container of group 12 \(process .*pid \d+\).*; the container of group 3, group 4, group 11 \(process .*11111111-0000-0000-0000-000000000001/,
    );
    for (const device of [EDU, OTHER_EDU]) expect(dmaRead(program, second, device, pasid, 0n)).toMatch(/0x59/);
    expect(dmaRead(program, first, BACKED_TOO, pasid, 0n)).toBe(4n);
    expect(dmaRead(program, second, BACKED, pasid, 0n)).toMatch(/not bound for it/);
    expect(program.unbindV1(first, pasid)).toBe(0);
    expect(program.bindV1(second, pasid, guest.root)).toBe(0);
    for (const device of [EDU, OTHER_EDU, BACKED]) expect(dmaRead(program, second, device, pasid, 0n)).toBe(4n);
  });

  test("IOMMU-backed mediated devices go by their parent, each container through its own memory", () => {
    const program = new NestingProgram(nestingHost("vsva-v1"));
    const { container: first } = program.container(11, NESTING);
    const { container: second } = program.container(12, NESTING);
    const [one, two] = [program.guest(first), program.guest(second)];
    two.point(0n, 9);
    const [a, b] = [program.allocV1(first), program.allocV1(second)];
    expect(program.bindV1(first, a, one.root)).toBe(0);
    expect(program.bindV1(second, b, two.root)).toBe(0);
    expect(dmaRead(program, first, BACKED, a, 0n)).toBe(4n);
    expect(dmaRead(program, second, BACKED_TOO, b, 0n)).toBe(9n);
    expect(dmaRead(program, first, BACKED, b, 0n)).toMatch(/not bound for it/);
    // without a PASID the aux domain's own serves: guest physical addresses
    expect(dmaRead(program, first, BACKED, undefined, one.page(5))).toBe(5n);
    expect(dmaRead(program, first, BACKED, undefined, 0n)).toMatch(/second level/);
    program.unmap(first, one.gpa, 0x1_0000n);
    expect(dmaRead(program, first, BACKED, undefined, one.page(5))).toMatch(/second level/);
    expect(dmaRead(program, first, BACKED, a, 0n)).toMatch(/second level/);
    expect(dmaRead(program, second, BACKED_TOO, b, 0n)).toBe(9n);
  });

  test("a mediated device without IOMMU backing is refused before anything is bound", () => {
    const { program, container, guest, pasid } = setUp();
    const plain = program.add(container, 20);
    expect(plain).toBeTypeOf("number");
    expect(program.bindV1(container, pasid, guest.root)).toBe("ENODEV");
    expect(program.reason).toContain(PLAIN);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toMatch(/0x59: .*not present/);
    expect(program.invalidateV1(container, IOTLB, BY_PASID, byPasid(pasid))).toBe("ENODEV");
    expect(dmaRead(program, container, PLAIN, pasid, 0n)).toMatch(/no IOMMU/);
    expect(program.unsetContainer(plain)).toBe(0);
    expect(program.bindV1(container, pasid, guest.root)).toBe(0);
  });

  test("a group that leaves takes its bindings along, the others keep theirs", () => {
    const { program, container, guest, pasid } = setUp();
    const other = program.add(container, 4);
    program.bindV1(container, pasid, guest.root);
    expect(program.unsetContainer(other)).toBe(0);
    program.close(other);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toBe(4n);
    const next = new NestingProgram(program.host);
    const { container: theirs } = next.container(4, NESTING);
    expect(dmaRead(next, theirs, OTHER_EDU, pasid, 0n)).toMatch(/0x59: .*not present/);
  });
});

test("accessed and dirty bits come back to the guest's memory", () => {
  const { program, container, guest, pasid } = setUp();
  program.bindV1(container, pasid, guest.root);
  dmaRead(program, container, EDU, pasid, 0n);
  expect(program.peek64(guest.memory + 3 * 4096) & 0x60n).toBe(0x20n);
  expect(program.peek64(guest.memory) & 0x20n).toBe(0x20n);
});

test("a supervisor page and an absent one fault with the hardware's reasons", () => {
  const { program, container, guest, pasid } = setUp();
  program.bindV1(container, pasid, guest.root);
  guest.point(0x1000n, 5, PTE.present | PTE.write);
  expect(dmaRead(program, container, EDU, pasid, 0x1000n)).toMatch(/0x81/);
  expect(dmaRead(program, container, EDU, pasid, 0x2000n)).toMatch(/0x71/);
  expect(dmaRead(program, container, EDU, pasid, 1n << 60n)).toMatch(/0x80/);
});
