import { describe, expect, test } from "vitest";
import { KernelError } from "../../../src/kernel/errors.ts";
import {
  DESCRIPTORS,
  type Descriptor,
  type DescriptorKind,
  decodeDescriptor,
  encodeDescriptor,
} from "../../../src/uapi/intel-invalidation.ts";
import { sanitizeDescriptor } from "../../../src/vfio/nesting/sanitize-descriptor.ts";
import type { Submission } from "../../../src/vfio/nesting/tagged.ts";
import { Random } from "../../iommu/vtd/guest.ts";
import { dmaRead, EDU, NestingProgram, nestingHost, OTHER_EDU } from "./nesting-program.ts";
import {
  bindTable,
  descriptors,
  EDU_SOURCE,
  nestingOf,
  OTHER_SOURCE,
  PARENT_SOURCE,
  setUp,
  unitOf,
} from "./op-program.ts";

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
    expect(descriptors(program, container, encodeDescriptor(kind, fields)), program.reason).toBe(expected);
  });

  test.each([
    [0, "0x602", [0x602]],
    [1, "0x602", [0x602]],
    [1, "0x606", [0x602]],
    [2, "0x602", [0x600, 0x602]],
    [2, "0x604", [0x600, 0x602]],
    [2, "0x607", [0x601]],
    [3, "0x605", [0x600, 0x601, 0x602]],
  ])(
    "function mask %i leaves that many bits of %s out, from the most significant on",
    (functionMask, sourceId, found) => {
      const { program, container, guest } = setUp(6);
      bindTable(program, container, 7, guest.root);
      const made = sanitizeDescriptor(
        nestingOf(program, container),
        encodeDescriptor("contextCache", { granularity: 3, sourceId: Number(sourceId), functionMask }),
      );
      const fields = made
        .map(({ descriptor }) => decodeDescriptor(descriptor))
        .map((one) => (typeof one === "string" ? {} : one.fields));
      expect(fields.map(({ sourceId: source }) => Number(source)).sort()).toEqual(found);
      expect(fields.every(({ functionMask: mask }) => mask === 0n)).toBe(true);
    },
  );

  test("a list is carried out in order by one request", () => {
    const { program, container, guest } = setUp();
    bindTable(program, container, 7, guest.root);
    dmaRead(program, container, EDU, 7, 0n);
    const unit = unitOf(program, container);
    const before = unit.descriptors;
    guest.point(0n, 5);
    const list = [
      encodeDescriptor("pasidIotlb", { granularity: 3, pasid: 7, address: 0, leafHint: 1 }),
      encodeDescriptor("pasidDeviceTlb", { sourceId: EDU_SOURCE, pasid: 7, address: 0 }),
    ];
    expect(descriptors(program, container, ...list), program.reason).toBe(0);
    expect(unit.descriptors).toBe(before + 2);
    expect(dmaRead(program, container, EDU, 7, 0n)).toBe(5n);
    const most = Array.from({ length: 8 }, () => list).flat();
    expect(descriptors(program, container, ...most), program.reason).toBe(0);
    expect(descriptors(program, container, ...most, list[0]!)).toBe("EINVAL");
    expect(descriptors(program, container)).toBe("EINVAL");
  });

  test("of a list with one that is refused none is carried out, and the reason says which", () => {
    const { program, container, guest } = setUp();
    bindTable(program, container, 7, guest.root);
    dmaRead(program, container, EDU, 7, 0n);
    guest.point(0n, 5);
    const good = encodeDescriptor("pasidIotlb", { granularity: 2, pasid: 7 });
    const bad = encodeDescriptor("wait", { statusWrite: 1, statusAddress: 0x1000 });
    expect(descriptors(program, container, good, good, bad)).toBe("EPERM");
    expect(program.reason).toMatch(/^descriptor 3 of 3: a wait descriptor/);
    expect(dmaRead(program, container, EDU, 7, 0n)).toBe(4n);
    expect(descriptors(program, container, good)).toBe(0);
    expect(dmaRead(program, container, EDU, 7, 0n)).toBe(5n);
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
      descriptors(
        program,
        mine,
        flipped(random, randomDescriptor(random, random.pick(kinds), [EDU_SOURCE, OTHER_SOURCE])),
      );
      if (i % 100 === 0) expect(dmaRead(program, theirs, OTHER_EDU, 7, 0n)).toBe(4n);
    }
    expect(dmaRead(program, theirs, OTHER_EDU, 7, 0n)).toBe(4n);
    expect(descriptors(program, theirs, encodeDescriptor("pasidIotlb", { granularity: 2, pasid: 7 }))).toBe(0);
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
