import { describe, expect, test } from "vitest";
import { parseCapabilityChain } from "../../../src/uapi/capability-chain.ts";
import { IommuInvPasidInfo } from "../../../src/uapi/iommu-v510.ts";
import { VfioIommuType1Info } from "../../../src/uapi/vfio-type1.ts";
import { VFIO_IOMMU_NESTING_OP, VfioIommuType1InfoCapNesting } from "../../../src/uapi/vsva-v7.ts";
import { dmaRead, EDU, NestingProgram, nestingHost } from "./nesting-program.ts";

const NESTING = 6;

function setUp() {
  const program = new NestingProgram(nestingHost("vsva-v7"));
  return { program, ...program.container(3, NESTING) };
}

function capabilities(info: Uint8Array) {
  return parseCapabilityChain(info, VfioIommuType1Info.decode(info).cap_offset, VfioIommuType1Info.size);
}

describe("vsva-v7", () => {
  test("bind, change, invalidate and unbind through one operation", () => {
    const { program, container } = setUp();
    const pasid = program.pasidV7(container, 1, 100, 200);
    expect(pasid).toBe(100);
    const guest = program.guest(container);
    const op = (flags: number) =>
      program.ioctlBytes(container, VFIO_IOMMU_NESTING_OP, program.bindBytes(flags, pasid, guest.root));
    expect(op(0), program.reason).toBe(0);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toBe(4n);
    guest.point(0n, 5);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toBe(4n);
    const bytes = program.cacheBytes(1, 1, IommuInvPasidInfo.encode({ flags: 1, pasid: BigInt(pasid) }));
    new DataView(bytes.buffer).setUint32(4, 2, true);
    expect(program.ioctlBytes(container, VFIO_IOMMU_NESTING_OP, bytes)).toBe(0);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toBe(5n);
    expect(op(1)).toBe(0);
    expect(dmaRead(program, container, EDU, pasid, 0n)).toMatch(/not present/);
    expect([op(3), op(0x1_0000)]).toEqual(["EINVAL", "EINVAL"]);
  });

  test("a range of PASIDs is freed at once", () => {
    const { program, container } = setUp();
    for (let pasid = 10; pasid < 14; pasid++) expect(program.pasidV7(container, 1, 10, 20)).toBe(pasid);
    expect(program.pasidV7(container, 2, 11, 12)).toBe(0);
    expect(program.pasidV7(container, 1, 10, 20)).toBe(11);
    expect([0, 3, 4].map((flags) => program.pasidV7(container, flags, 1, 2))).toEqual(["EINVAL", "EINVAL", "EINVAL"]);
    expect(program.pasidV7(container, 2, 3, 2)).toBe("EINVAL");
  });

  test("a nesting container holds one group", () => {
    const { program, container } = setUp();
    expect(program.add(container, 4)).toBe("EINVAL");
    expect(program.reason).toMatch(/one group/);
  });

  test("capability 3 is what the IOMMU nests, on nesting containers only", () => {
    const { program, container } = setUp();
    const found = capabilities(program.info(container)).filter(({ id }) => id === 3);
    expect(found.length).toBe(1);
    const { info } = VfioIommuType1InfoCapNesting.decode(
      new Uint8Array([...new Uint8Array(8), ...found[0]!.body, ...new Uint8Array(8)]),
    );
    expect(info).toMatchObject({ argsz: 56, format: 1, features: 7, addr_width: 57, pasid_bits: 20 });
    const other = program.container(4, 3);
    expect(capabilities(program.info(other.container)).find(({ id }) => id === 3)!.body.length).toBeLessThan(16);
  });
});

test("an IOMMU that cannot nest refuses the group as recorded", () => {
  const program = new NestingProgram(nestingHost("mainline"));
  expect(() => program.container(3, NESTING)).toThrow(/EINVAL/);
});
