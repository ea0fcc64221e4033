import { describe, expect, test } from "vitest";
import { KernelError } from "../../../src/kernel/errors.ts";
import { parseCapabilityChain } from "../../../src/uapi/capability-chain.ts";
import {
  DESCRIPTORS,
  type Descriptor,
  type DescriptorKind,
  decodeDescriptor,
  encodeDescriptor,
} from "../../../src/uapi/intel-invalidation.ts";
import * as rfc from "../../../src/uapi/rfc-2017.ts";
import { VfioIommuType1Info } from "../../../src/uapi/vfio-type1.ts";
import type { Container } from "../../../src/vfio/container.ts";
import type { NestingBackend } from "../../../src/vfio/nesting/nesting-backend.ts";
import { sanitizeDescriptor } from "../../../src/vfio/nesting/sanitize-descriptor.ts";
import type { Submission } from "../../../src/vfio/nesting/tagged.ts";
import { Random } from "../../iommu/vtd/guest.ts";
import type { Result } from "../program.ts";
import { BACKED, dmaRead, EDU, NestingProgram, nestingHost, OTHER_EDU, PLAIN } from "./nesting-program.ts";

const EDU_SOURCE = 0x300;
const OTHER_SOURCE = 0x400;
const PARENT_SOURCE = 0x500;

function setUp(group = 3) {
  const program = new NestingProgram(nestingHost("rfc-2017"));
  const { container } = program.container(group, 3);
  return { program, container, guest: program.guest(container) };
}

function op(
  program: NestingProgram,
  container: Result,
  number: number,
  data: Uint8Array,
  change: { argsz?: number; flags?: number } = {},
): Result {
  const head = rfc.VfioIommuOperation.encode({ argsz: 16 + data.length, op: number, ...change });
  return program.ioctlBytes(container, rfc.VFIO_IOMMU_OP, new Uint8Array([...head, ...data]));
}

function bindTable(
  program: NestingProgram,
  container: Result,
  pasid: number,
  table: bigint,
  change: Record<string, unknown> = {},
): Result {
  return op(
    program,
    container,
    3,
    rfc.IommuPageTableBind.encode({ model: 1, table, pasid, addr_width: 48, ...change }),
  );
}

function invalidate(
  program: NestingProgram,
  container: Result,
  facts: Record<string, unknown>,
  vendor: Uint8Array = new Uint8Array(0),
): Result {
  const fixed = rfc.IommuTlbInvalidate.encode({ model: 1, length: vendor.length, ...facts });
  return op(program, container, 4, new Uint8Array([...fixed, ...vendor]));
}

function descriptor(program: NestingProgram, container: Result, value: Descriptor): Result {
  return invalidate(program, container, { flags: 4 }, rfc.IntelIommuInvalidateData.encode(value));
}

const nestingOf = (program: NestingProgram, container: Result) =>
  ((program.task.files.get(Number(container)) as Container).backend as NestingBackend).container;

describe("the generic operation", () => {
  test("PROBE tells operations and models and does nothing; GET_INFO has the same", () => {
    const { program, container } = setUp();
    const bytes = new Uint8Array([...rfc.VfioIommuOperation.encode({ argsz: 32, flags: 1 }), ...new Uint8Array(16)]);
    expect(program.ioctlBytes(container, rfc.VFIO_IOMMU_OP, bytes)).toBe(0);
    const support = rfc.VfioIommuOpProbe.decode(bytes.subarray(16));
    expect(support).toEqual({ ops: 0b11110, models: 0b10, descriptors: 0b1_1100_1110, pasid_bits: 20 });
    const info = program.info(container);
    const chain = parseCapabilityChain(info, VfioIommuType1Info.decode(info).cap_offset, VfioIommuType1Info.size);
    expect(rfc.VfioIommuOpProbe.decode(chain.find(({ id }) => id === 4)!.body)).toEqual(support);
    expect(op(program, container, 3, new Uint8Array(16), { flags: 1 })).toBe("EINVAL");
    expect(op(program, container, 0, new Uint8Array(8), { flags: 1 })).toBe("EINVAL");
    expect(op(program, container, 0, new Uint8Array(16), { flags: 2 })).toBe("EINVAL");
  });

  test("a page table: bind, stale, invalidate by address and by PASID, unbind", () => {
    const { program, container, guest } = setUp();
    expect(bindTable(program, container, 7, guest.root), program.reason).toBe(0);
    expect(bindTable(program, container, 7, guest.root)).toBe("EBUSY");
    expect(dmaRead(program, container, EDU, 7, 0n)).toBe(4n);
    guest.point(0n, 5);
    expect(dmaRead(program, container, EDU, 7, 0n)).toBe(4n);
    expect(invalidate(program, container, { scope: 3, pasid: 7, size: 4096n }), program.reason).toBe(0);
    expect(dmaRead(program, container, EDU, 7, 0n)).toBe(5n);
    guest.point(0n, 6);
    expect(invalidate(program, container, { scope: 1, pasid: 8 })).toBe(0);
    expect(dmaRead(program, container, EDU, 7, 0n)).toBe(5n);
    expect(invalidate(program, container, { scope: 1, pasid: 7 })).toBe(0);
    expect(dmaRead(program, container, EDU, 7, 0n)).toBe(6n);
    expect(bindTable(program, container, 7, 0n, { flags: 1 })).toBe(0);
    expect(bindTable(program, container, 7, 0n, { flags: 1 })).toBe(0);
    expect(dmaRead(program, container, EDU, 7, 0n)).toMatch(/not present/);
  });

  test("the process's own memory: a device uses the addresses that the program uses", () => {
    const { program, container } = setUp();
    const memory = program.memory(4096);
    program.poke64(memory + 8, 99n);
    expect(op(program, container, 2, rfc.IommuPasidBind.encode({ pasid: 3 }))).toBe(0);
    expect(dmaRead(program, container, EDU, 3, BigInt(memory + 8))).toBe(99n);
    program.task.memory.munmap(memory, 4096);
    expect(dmaRead(program, container, EDU, 3, BigInt(memory + 8))).toMatch(/0x79/);
    expect(op(program, container, 2, rfc.IommuPasidBind.encode({ pasid: 3, flags: 1 }))).toBe(0);
    expect(dmaRead(program, container, EDU, 3, BigInt(memory + 8))).toMatch(/not present/);
  });

  test("a PASID table in guest memory: its first-level entries serve, whatever domain they claim; no others do", () => {
    const { program, container, guest } = setUp();
    // directory in page 12, table in page 13, PASID 5; the entry claims domain 77
    const entry = guest.memory + 13 * 4096 + 5 * 64;
    program.poke64(guest.memory + 12 * 4096, guest.page(13) | 1n);
    const write = (type: bigint) => {
      program.poke64(entry, 1n | (type << 6n));
      program.poke64(entry + 8, 77n);
      program.poke64(entry + 16, guest.root);
    };
    for (let word = 0; word < 512; word++) program.poke64(guest.memory + 13 * 4096 + word * 8, 0n);
    write(1n);
    const bind = (change: Record<string, unknown> = {}) =>
      op(
        program,
        container,
        1,
        rfc.IommuPasidTableBind.encode({ model: 1, table: guest.page(12), pasid_bits: 10, ...change }),
      );
    expect(bind(), program.reason).toBe(0);
    expect(dmaRead(program, container, EDU, 5, 0n)).toBe(4n);
    expect(dmaRead(program, container, EDU, 6, 0n)).toMatch(/0x59/);
    expect(dmaRead(program, container, EDU, 64, 0n)).toMatch(/0x51/);
    expect(dmaRead(program, container, EDU, 1024, 0n)).toMatch(/0x46/);
    expect(bind()).toBe("EBUSY");
    expect(bindTable(program, container, 9, guest.root)).toBe("EBUSY");
    // the entry is remembered until the PASID cache is invalidated: by the guest's own domain-id, which is replaced
    write(4n);
    expect(dmaRead(program, container, EDU, 5, 0n)).toBe(4n);
    expect(
      descriptor(program, container, encodeDescriptor("pasidCache", { granularity: 1, domain: 77, pasid: 5 })),
    ).toBe(0);
    expect(dmaRead(program, container, EDU, 5, 0n)).toMatch(/0x5b/);
    for (const type of [2n, 3n]) {
      write(type);
      descriptor(program, container, encodeDescriptor("pasidCache", { granularity: 0, domain: 77 }));
      expect(dmaRead(program, container, EDU, 5, 0n)).toMatch(/0x5b/);
    }
    write(1n);
    program.poke64(entry + 24, 1n);
    descriptor(program, container, encodeDescriptor("pasidCache", { granularity: 0 }));
    expect(dmaRead(program, container, EDU, 5, 0n)).toMatch(/0x5a/);
    expect(bind({ flags: 1 })).toBe(0);
    expect(dmaRead(program, container, EDU, 5, 0n)).toMatch(/0x41|0x59/);
  });

  test("on mediated devices: backed ones by their parent, plain ones refused", () => {
    const { program, container, guest } = setUp(11);
    // the PASID that the host took for the device itself is no number of the guest's
    expect(bindTable(program, container, 1, guest.root)).toBe(0);
    expect(dmaRead(program, container, BACKED, 1, 0n)).toBe(4n);
    expect(bindTable(program, container, 50, guest.root)).toBe(0);
    expect(dmaRead(program, container, BACKED, 50, 0n)).toBe(4n);
    expect(
      op(program, container, 1, rfc.IommuPasidTableBind.encode({ model: 1, table: guest.page(12), pasid_bits: 10 })),
    ).toBe("EOPNOTSUPP");
    program.add(container, 20);
    expect(bindTable(program, container, 51, guest.root)).toBe("ENODEV");
    expect(program.reason).toContain(PLAIN);
  });
});

test("what is unmapped is no longer remembered", () => {
  const { program, container, guest } = setUp();
  bindTable(program, container, 7, guest.root);
  dmaRead(program, container, EDU, 7, 0n);
  const nesting = nestingOf(program, container);
  const { iotlb } = nesting.hardware.units.of(nesting.requesters[0]!.identity).unit;
  expect(iotlb.size).toBe(1);
  program.unmap(container, 0x900_0000n, 4096n);
  program.unmap(container, guest.gpa, 0x1_0000n);
  expect(iotlb.size).toBe(0);
});

describe("what the generic operation refuses", () => {
  test.each([
    ["an unknown operation", 9, new Uint8Array(64), "EOPNOTSUPP"],
    ["no operation", 0, new Uint8Array(64), "EOPNOTSUPP"],
    ["too few bytes", 3, new Uint8Array(31), "EINVAL"],
    ["model 0", 3, rfc.IommuPageTableBind.encode({ addr_width: 48, pasid: 1 }), "EINVAL"],
    ["another model", 3, rfc.IommuPageTableBind.encode({ model: 2, addr_width: 48, pasid: 1 }), "EOPNOTSUPP"],
    ["an unknown model", 3, rfc.IommuPageTableBind.encode({ model: 6, addr_width: 48, pasid: 1 }), "EINVAL"],
    ["PASID 0", 3, rfc.IommuPageTableBind.encode({ model: 1, addr_width: 48 }), "EINVAL"],
    [
      "a length beyond the data",
      3,
      rfc.IommuPageTableBind.encode({ model: 1, addr_width: 48, pasid: 1, length: 8 }),
      "EINVAL",
    ],
    ["an odd length", 3, rfc.IommuPageTableBind.encode({ model: 1, addr_width: 48, pasid: 1, length: 4 }, 4), "EINVAL"],
    [
      "a huge length",
      3,
      rfc.IommuPageTableBind.encode({ model: 1, addr_width: 48, pasid: 1, length: 0xffff_fff0 }),
      "EINVAL",
    ],
    ["something behind the data", 2, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0]), "E2BIG"],
  ])("%s", (_name, number, data, errno) => {
    const { program, container } = setUp();
    expect(op(program, container, number, data)).toBe(errno);
    expect(program.reason).not.toBe("");
  });

  test("scopes and flags that mean nothing together", () => {
    const { program, container } = setUp();
    const refused: Record<string, unknown>[] = [
      { scope: 4 },
      { flags: 8 },
      { scope: 1, pasid: 1, flags: 1 },
      { scope: 2, size: 4096n },
      { scope: 0, flags: 2 },
      { scope: 1, pasid: 1, flags: 2 },
      { pasid: 1 },
      { scope: 1 },
      { scope: 1, pasid: 1, vaddr: 4096n },
      { scope: 3, pasid: 1 },
      { scope: 3, pasid: 1, vaddr: 1n, size: 4096n },
      { scope: 3, pasid: 1, vaddr: 2n ** 64n - 4096n, size: 8192n },
      { reserved: 1 },
    ];
    for (const facts of refused)
      expect(
        invalidate(program, container, facts),
        JSON.stringify(facts, (_k, v) => String(v)),
      ).toBe("EINVAL");
    const taken: Record<string, unknown>[] = [
      {},
      { flags: 1 },
      { scope: 1, pasid: 1 },
      { scope: 3, pasid: 1, size: 4096n, flags: 2 },
      { scope: 2, flags: 1, size: 4096n },
    ];
    for (const facts of taken) expect(invalidate(program, container, facts), program.reason).toBe(0);
  });

  test("hints about others' devices", () => {
    const { program, container } = setUp();
    const hints = (facts: Record<string, unknown>) =>
      invalidate(program, container, { scope: 1, pasid: 1 }, rfc.IntelIommuInvalidateHints.encode(facts));
    expect(hints({ hints: 7, source_id: EDU_SOURCE, pfsid: EDU_SOURCE, caches: 7 })).toBe(0);
    expect(hints({ source_id: OTHER_SOURCE })).toBe("EPERM");
    expect(hints({ pfsid: OTHER_SOURCE })).toBe("EPERM");
    expect(hints({ hints: 8 })).toBe("EINVAL");
    expect(hints({ caches: 8 })).toBe("EINVAL");
    expect(hints({ reserved: [0, 0, 0, 1, 0, 0] })).toBe("EINVAL");
  });

  test("nothing on mainline hosts and on IOMMUs that cannot nest", () => {
    const program = new NestingProgram(nestingHost("mainline"));
    expect(op(program, program.container(3, 3).container, 4, new Uint8Array(64))).toBe("ENOTTY");
  });
});

describe("Intel's descriptors", () => {
  test.each([
    ["contextCache", { granularity: 2, domain: 9 }, 0],
    ["contextCache", { granularity: 3, domain: 9, sourceId: EDU_SOURCE, functionMask: 3 }, 0],
    ["contextCache", { granularity: 1 }, "EPERM"],
    ["contextCache", { granularity: 0 }, "EINVAL"],
    ["contextCache", { granularity: 3, sourceId: OTHER_SOURCE }, "EPERM"],
    ["contextCache", { granularity: 2, sourceId: EDU_SOURCE }, "EINVAL"],
    ["iotlb", { granularity: 2, drainReads: 1, drainWrites: 1 }, 0],
    ["iotlb", { granularity: 3, addressMask: 4, address: 32, leafHint: 1 }, 0],
    ["iotlb", { granularity: 3, addressMask: 4, address: 33 }, "EINVAL"],
    ["iotlb", { granularity: 2, address: 32 }, "EINVAL"],
    ["iotlb", { granularity: 1 }, "EPERM"],
    ["deviceTlb", { sourceId: EDU_SOURCE, address: 5, maxPending: 8 }, 0],
    ["deviceTlb", { sourceId: OTHER_SOURCE, address: 5 }, "EPERM"],
    ["deviceTlb", { sourceId: EDU_SOURCE, functionId: OTHER_SOURCE }, "EPERM"],
    ["pasidIotlb", { granularity: 2, pasid: 7 }, 0],
    ["pasidIotlb", { granularity: 3, pasid: 7, address: 5, leafHint: 1, globalHint: 1 }, 0],
    ["pasidIotlb", { granularity: 1, pasid: 7 }, "EINVAL"],
    ["pasidCache", { granularity: 0 }, 0],
    ["pasidCache", { granularity: 0, pasid: 1 }, "EINVAL"],
    ["pasidCache", { granularity: 3 }, "EPERM"],
    ["pasidDeviceTlb", { sourceId: EDU_SOURCE, pasid: 7, address: 5 }, 0],
    ["pasidDeviceTlb", { sourceId: EDU_SOURCE, global: 1, size: 1, address: 5 }, 0],
    ["pasidDeviceTlb", { sourceId: PARENT_SOURCE, pasid: 7 }, "EPERM"],
    ["interruptEntry", {}, "EPERM"],
    ["interruptEntry", { granularity: 1, index: 4 }, "EPERM"],
    ["wait", { statusWrite: 1, statusAddress: 0x1000 }, "EPERM"],
  ] as const)("%s %o: %s", (kind, fields, expected) => {
    const { program, container } = setUp();
    expect(descriptor(program, container, encodeDescriptor(kind, fields)), program.reason).toBe(expected);
  });

  test("100000 random ones: what is accepted stays in the container's own domain and devices", () => {
    const random = new Random(2017);
    const program = new NestingProgram(nestingHost("rfc-2017"));
    const mine = program.container(3, 3).container;
    const shared = program.container(11, 3).container;
    program.container(12, 3);
    bindTable(program, shared, 50, program.guest(shared).root);
    const scenes = [
      { container: nestingOf(program, mine), sources: [EDU_SOURCE], isShared: false },
      { container: nestingOf(program, shared), sources: [PARENT_SOURCE], isShared: true },
    ];
    const kinds = Object.keys(DESCRIPTORS) as DescriptorKind[];
    let accepted = 0;
    const seen = new Set<DescriptorKind>();
    for (let i = 0; i < 100_000; i++) {
      const { container, sources, isShared } = scenes[i % 2]!;
      const value = flipped(random, randomDescriptor(random, random.pick(kinds), [...sources, OTHER_SOURCE]));
      let made: Submission[];
      try {
        made = sanitizeDescriptor(container, value);
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        continue;
      }
      accepted++;
      for (const { unit, descriptor: one } of made) {
        const decoded = decodeDescriptor(one);
        if (typeof decoded === "string") throw new Error(`${decoded} of ${value.low}`);
        const { kind, fields } = decoded;
        seen.add(kind);
        const granularity = Number(fields.granularity ?? 0n);
        const where = `${kind} ${JSON.stringify(fields, (_k, v) => String(v))}`;
        if (fields.domain !== undefined)
          expect(Number(fields.domain), where).toBe(container.domainIdOf(container.requesters[0]!));
        if (fields.sourceId !== undefined && (kind !== "contextCache" || granularity === 3))
          expect(sources, where).toContain(Number(fields.sourceId));
        for (const name of ["functionMask", "functionId", "maxPending"]) expect(fields[name] ?? 0n, where).toBe(0n);
        expect(["wait", "interruptEntry"], where).not.toContain(kind);
        if (kind === "contextCache" || kind === "iotlb") expect(granularity, where).not.toBe(1);
        if (kind === "pasidCache") expect(granularity, where).not.toBe(3);
        if (isShared && kind === "pasidDeviceTlb")
          expect([fields.global, container.ownNumbers(container.requesters[0]!)], where).toEqual([
            0n,
            expect.arrayContaining([Number(fields.pasid)]),
          ]);
        if (isShared) expect(kind, where).not.toBe("deviceTlb");
        // and the hardware takes it
        expect(unit.submit(one), where).toBeUndefined();
      }
    }
    expect(accepted).toBeGreaterThan(5000);
    expect([...seen].sort()).toEqual([
      "contextCache",
      "deviceTlb",
      "iotlb",
      "pasidCache",
      "pasidDeviceTlb",
      "pasidIotlb",
    ]);
  });

  test("accepted ones leave another container's translations alone", () => {
    const random = new Random(7);
    const program = new NestingProgram(nestingHost("rfc-2017"));
    const mine = program.container(3, 3).container;
    const theirs = program.container(4, 3).container;
    const guest = program.guest(theirs);
    expect(bindTable(program, theirs, 7, guest.root)).toBe(0);
    expect(dmaRead(program, theirs, OTHER_EDU, 7, 0n)).toBe(4n);
    guest.point(0n, 5);
    const kinds = Object.keys(DESCRIPTORS) as DescriptorKind[];
    for (let i = 0; i < 3000; i++) {
      descriptor(
        program,
        mine,
        flipped(random, randomDescriptor(random, random.pick(kinds), [EDU_SOURCE, OTHER_SOURCE])),
      );
      if (i % 100 === 0) expect(dmaRead(program, theirs, OTHER_EDU, 7, 0n)).toBe(4n);
    }
    expect(dmaRead(program, theirs, OTHER_EDU, 7, 0n)).toBe(4n);
    expect(descriptor(program, theirs, encodeDescriptor("pasidIotlb", { granularity: 2, pasid: 7 }))).toBe(0);
    expect(dmaRead(program, theirs, OTHER_EDU, 7, 0n)).toBe(5n);
  });
});

/** A descriptor that could be meant: fields that often make sense, domain-ids of everybody. */
function randomDescriptor(random: Random, kind: DescriptorKind, sources: readonly number[]): Descriptor {
  const fields: Record<string, number> = {};
  for (const [name, { pieces }] of Object.entries(DESCRIPTORS[kind].fields)) {
    const bits = pieces.reduce((sum: number, piece: { bits: number }) => sum + piece.bits, 0);
    if (name === "sourceId" || name === "functionId")
      fields[name] = random.chance(50) && name === "functionId" ? 0 : random.pick(sources);
    else if (name === "pasid") fields[name] = random.pick([7, 50, 51]);
    else if (name === "domain") fields[name] = random.below(5);
    else if (bits <= 6) fields[name] = random.chance(60) ? 0 : random.below(2 ** bits);
    else fields[name] = random.chance(50) ? 0 : random.below(2 ** Math.min(bits, 20));
  }
  if (fields.granularity === 0) fields.granularity = random.below(DESCRIPTORS[kind].type === 4 ? 2 : 4);
  return encodeDescriptor(kind, fields);
}

/** Flips up to four bits, in a twentieth of the cases all of them at random. */
function flipped(random: Random, { low, high }: Descriptor): Descriptor {
  const word = () => BigInt(random.below(2 ** 32)) * 2n ** 32n + BigInt(random.below(2 ** 32));
  if (random.chance(5)) return { low: word(), high: word() };
  let whole = low | (high << 64n);
  for (let flips = random.below(5); flips > 0; flips--) whole ^= 1n << BigInt(random.below(128));
  return { low: BigInt.asUintN(64, whole), high: whole >> 64n };
}
