import { describe, expect, test } from "vitest";
import { parseCapabilityChain } from "../../../src/uapi/capability-chain.ts";
import * as rfc from "../../../src/uapi/rfc-2017.ts";
import { VFIO_IOMMU_INFO_CAPS, VfioIommuType1Info } from "../../../src/uapi/vfio-type1.ts";
import type { Result } from "../program.ts";
import { NestingProgram, nestingHost } from "./nesting-program.ts";
import { bindProcess, bindTable, decodeAnswer, EDU_SOURCE, op, PARENT_SOURCE, probe, setUp } from "./op-program.ts";

const WHOLE = 4096;
const BINDS = 0b01110;
const INVALIDATE = 0b10000;

function answerOf(program: NestingProgram, container: Result): Uint8Array {
  const bytes = probe(program, container, WHOLE);
  if (!(bytes instanceof Uint8Array)) throw new Error(`${bytes}: ${program.reason}`);
  return bytes.subarray(0, rfc.VfioIommuOpProbe.decode(bytes).size);
}

function capabilityOf(program: NestingProgram, container: Result): Uint8Array {
  const info = program.info(container);
  const { flags, cap_offset } = VfioIommuType1Info.decode(info);
  expect(flags & VFIO_IOMMU_INFO_CAPS).not.toBe(0);
  expect(cap_offset).toBe(VfioIommuType1Info.size);
  const found = parseCapabilityChain(info, cap_offset, VfioIommuType1Info.size).find(({ id }) => id === 4)!;
  expect(found.version).toBe(1);
  return found.body.subarray(0, rfc.VfioIommuOpProbe.decode(found.body).size);
}

describe("PROBE", () => {
  test("a caller of the first form gets its 16 bytes and nothing behind them", () => {
    const { program, container } = setUp();
    const bytes = probe(program, container, 16) as Uint8Array;
    const words = new Uint32Array(bytes.slice(0, 16).buffer);
    expect([...words]).toEqual([BINDS | INVALIDATE, 0b10, 0b1_1100_1110, 20]);
    expect([...bytes.subarray(16)]).toEqual(new Array(8).fill(0xaa));
  });

  test("as much as there is room for is filled, and size says how much there is", () => {
    const { program, container } = setUp();
    const whole = answerOf(program, container);
    for (const room of [17, 20, 39, 40, whole.length - 1, whole.length, whole.length + 1, WHOLE]) {
      const bytes = probe(program, container, room) as Uint8Array;
      const filled = Math.min(room, whole.length);
      expect([...bytes.subarray(0, filled)], String(room)).toEqual([...whole.subarray(0, filled)]);
      expect(
        bytes.subarray(filled).every((byte) => byte === 0xaa),
        String(room),
      ).toBe(true);
    }
  });

  test("operations, widths, formats and optional bits of each model", () => {
    const { program, container } = setUp();
    const { head, models } = decodeAnswer(answerOf(program, container));
    expect(head).toMatchObject({ ops: BINDS | INVALIDATE, models: 0b10, pasid_bits: 20, model_count: 1 });
    expect(models).toHaveLength(1);
    expect(models[0]).toMatchObject({
      model: rfc.IOMMU_MODEL_INTEL,
      ops: BINDS | INVALIDATE,
      addr_widths: (1n << 48n) | (1n << 57n),
      page_sizes: 0x4020_1000n,
      page_table_format: rfc.IOMMU_PAGE_TABLE_X86,
      pasid_table_format: rfc.IOMMU_PASID_TABLE_VTD_SCALABLE,
      length: rfc.IntelIommuOpSupport.size,
      size: rfc.VfioIommuOpModel.size + rfc.IntelIommuOpSupport.size,
    });
    expect(models[0]!.vendor).toEqual({
      page_table_flags: 67n,
      descriptors: 0b1_1100_1110,
      max_descriptors: 16,
      hints: 7,
      caches: 7,
    });
  });

  test("every width and optional bit that it tells is taken, every other one refused", () => {
    const { program, container, guest } = setUp();
    const [model] = decodeAnswer(answerOf(program, container)).models;
    for (let width = 0; width < 64; width++) {
      const isTold = ((model!.addr_widths >> BigInt(width)) & 1n) === 1n;
      expect(bindTable(program, container, 7, guest.root, { addr_width: width }), String(width)).toBe(
        isTold ? 0 : "EINVAL",
      );
      bindProcess(program, container, 7, 1);
    }
    for (let bit = 0; bit < 64; bit++) {
      const flags = rfc.IntelPageTableData.encode({ flags: 1n << BigInt(bit) });
      const fixed = { model: 1, table: guest.root, pasid: 7, addr_width: 48, length: 8 };
      const data = new Uint8Array([...rfc.IommuPageTableBind.encode(fixed), ...flags]);
      const isTold = ((model!.vendor.page_table_flags >> BigInt(bit)) & 1n) === 1n;
      expect(op(program, container, 3, data), `bit ${bit}`).toBe(isTold ? 0 : "EINVAL");
      bindProcess(program, container, 7, 1);
    }
  });

  test("the source-ids of the devices, those of shared parents too", () => {
    const { program, container } = setUp(6);
    program.add(container, 11);
    const { devices, models } = decodeAnswer(answerOf(program, container));
    const plain = { segment: 0, flags: 0, reserved: 0 };
    expect(devices).toEqual([
      { ...plain, group: 6, source_id: 0x600 },
      { ...plain, group: 6, source_id: 0x601 },
      { ...plain, group: 6, source_id: 0x602 },
      { ...plain, group: 11, source_id: PARENT_SOURCE, flags: rfc.IOMMU_OP_DEVICE_SHARED },
    ]);
    // whose PASID table is the host's
    expect(models[0]).toMatchObject({ ops: 0b11100, pasid_table_format: 0 });
  });

  test("without an IOMMU that can nest there is no operation, model or device", () => {
    const { program, container } = setUp();
    program.add(container, 20);
    const { head, models, devices } = decodeAnswer(answerOf(program, container));
    expect(head).toMatchObject({ ops: 0, models: 0, descriptors: 0, pasid_bits: 0, size: 40 });
    expect([models, devices]).toEqual([[], []]);
  });

  test("with something bound, what a newcomer leaves: invalidation", () => {
    const { program, container, guest } = setUp();
    bindTable(program, container, 7, guest.root);
    program.add(container, 20);
    const { head, devices } = decodeAnswer(answerOf(program, container));
    expect(head).toMatchObject({ ops: INVALIDATE, models: 0b10 });
    expect(devices.map(({ source_id }) => source_id)).toEqual([EDU_SOURCE]);
  });

  test("its argument has the limits of every operation", () => {
    const { program, container } = setUp();
    const refused = (change: { argsz?: number; flags?: number; reserved?: number }, number = 0, room = 16) =>
      op(program, container, number, new Uint8Array(room), { flags: 1, ...change });
    expect(refused({ argsz: 4113 })).toBe("E2BIG");
    expect(refused({ argsz: 0xffff_ffff })).toBe("E2BIG");
    expect(refused({ argsz: 4112 }, 0, 4096)).toBe(0);
    expect(refused({}, 3)).toBe("EINVAL");
    expect(refused({}, 0, 15)).toBe("EINVAL");
    expect(refused({ argsz: 15 })).toBe("EINVAL");
    expect(refused({ flags: 3 })).toBe("EINVAL");
    expect(refused({ flags: 2 })).toBe("EINVAL");
    expect(refused({ reserved: 1 })).toBe("EINVAL");
  });
});

describe("capability 4 of VFIO_IOMMU_GET_INFO", () => {
  test("is PROBE's answer, whoever comes and goes", () => {
    const { program, container } = setUp();
    const seen = new Set<string>();
    const compare = () => {
      const answer = answerOf(program, container);
      expect([...capabilityOf(program, container)]).toEqual([...answer]);
      seen.add(answer.join());
    };
    compare();
    const plain = program.add(container, 20);
    compare();
    program.unsetContainer(plain);
    compare();
    const other = program.add(container, 4);
    compare();
    const shared = program.add(container, 11);
    compare();
    program.unsetContainer(other);
    compare();
    program.unsetContainer(shared);
    compare();
    expect(seen.size).toBe(5);
  });

  test.each(["4.20", "5.3", "5.4", "5.10", "6.1", "6.12"])("has its place on kernel %s, chains or not", (kernel) => {
    const program = new NestingProgram(nestingHost("rfc-2017", kernel));
    const { container } = program.container(3, 3);
    expect(rfc.VfioIommuOpProbe.decode(capabilityOf(program, container)).models).toBe(0b10);
  });
});
