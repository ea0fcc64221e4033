import { describe, expect, test } from "vitest";
import { encodeDescriptor } from "../../../src/uapi/intel-invalidation.ts";
import * as rfc from "../../../src/uapi/rfc-2017.ts";
import { BACKED, dmaRead, EDU, NestingProgram, nestingHost, PLAIN } from "./nesting-program.ts";
import {
  bindPasidTable,
  bindProcess,
  bindTable,
  descriptors,
  EDU_SOURCE,
  invalidate,
  OTHER_SOURCE,
  op,
  setUp,
  unitOf,
} from "./op-program.ts";

describe("the generic operation", () => {
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
    expect(bindProcess(program, container, 3)).toBe(0);
    expect(dmaRead(program, container, EDU, 3, BigInt(memory + 8))).toBe(99n);
    program.task.memory.munmap(memory, 4096);
    expect(dmaRead(program, container, EDU, 3, BigInt(memory + 8))).toMatch(/0x79/);
    expect(bindProcess(program, container, 3, 1)).toBe(0);
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
    const bind = (change: Record<string, unknown> = {}) => bindPasidTable(program, container, guest.page(12), change);
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
      descriptors(program, container, encodeDescriptor("pasidCache", { granularity: 1, domain: 77, pasid: 5 })),
    ).toBe(0);
    expect(dmaRead(program, container, EDU, 5, 0n)).toMatch(/0x5b/);
    for (const type of [2n, 3n]) {
      write(type);
      descriptors(program, container, encodeDescriptor("pasidCache", { granularity: 0, domain: 77 }));
      expect(dmaRead(program, container, EDU, 5, 0n)).toMatch(/0x5b/);
    }
    write(1n);
    program.poke64(entry + 24, 1n);
    descriptors(program, container, encodeDescriptor("pasidCache", { granularity: 0 }));
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
    expect(bindPasidTable(program, container, guest.page(12))).toBe("EOPNOTSUPP");
    program.add(container, 20);
    expect(bindTable(program, container, 51, guest.root)).toBe("ENODEV");
    expect(program.reason).toContain(PLAIN);
  });
});

describe("a device that no IOMMU serves joins", () => {
  const joined = () => {
    const all = setUp();
    expect(bindTable(all.program, all.container, 7, all.guest.root)).toBe(0);
    expect(dmaRead(all.program, all.container, EDU, 7, 0n)).toBe(4n);
    all.program.add(all.container, 20);
    return all;
  };

  test("what is bound stays, can be flushed and can be undone; nothing more can be bound", () => {
    const { program, container, guest } = joined();
    expect(bindTable(program, container, 8, guest.root)).toBe("ENODEV");
    expect(bindProcess(program, container, 8)).toBe("ENODEV");
    expect(bindPasidTable(program, container, guest.page(12))).toBe("ENODEV");
    expect(program.reason).toContain(PLAIN);
    guest.point(0n, 5);
    expect(invalidate(program, container, { scope: 3, pasid: 7, size: 4096n }), program.reason).toBe(0);
    expect(dmaRead(program, container, EDU, 7, 0n)).toBe(5n);
    guest.point(0n, 6);
    const flush = [
      encodeDescriptor("pasidIotlb", { granularity: 2, pasid: 7 }),
      encodeDescriptor("pasidDeviceTlb", { sourceId: EDU_SOURCE, pasid: 7, address: 0 }),
    ];
    expect(descriptors(program, container, ...flush), program.reason).toBe(0);
    expect(dmaRead(program, container, EDU, 7, 0n)).toBe(6n);
    expect(bindTable(program, container, 7, 0n, { flags: 1 }), program.reason).toBe(0);
    expect(dmaRead(program, container, EDU, 7, 0n)).toMatch(/not present/);
  });

  test("with nothing bound there is no model whose caches could be meant", () => {
    const { program, container } = joined();
    expect(bindTable(program, container, 7, 0n, { flags: 1 })).toBe(0);
    expect(bindTable(program, container, 7, 0n, { flags: 1 })).toBe("ENODEV");
    expect(bindPasidTable(program, container, 0n, { flags: 1 })).toBe("ENODEV");
    expect(invalidate(program, container, {})).toBe("ENODEV");
    expect(descriptors(program, container, encodeDescriptor("iotlb", { granularity: 2 }))).toBe("ENODEV");
    // names no model
    expect(bindProcess(program, container, 7, 1)).toBe(0);
  });

  test("a PASID table in force can be undone too", () => {
    const { program, container, guest } = setUp();
    expect(bindPasidTable(program, container, guest.page(12)), program.reason).toBe(0);
    program.add(container, 20);
    expect(invalidate(program, container, {}), program.reason).toBe(0);
    expect(bindPasidTable(program, container, 0n, { flags: 1 }), program.reason).toBe(0);
    expect(bindPasidTable(program, container, 0n, { flags: 1 })).toBe("ENODEV");
  });
});

test("what is unmapped is no longer remembered", () => {
  const { program, container, guest } = setUp();
  bindTable(program, container, 7, guest.root);
  dmaRead(program, container, EDU, 7, 0n);
  const { iotlb } = unitOf(program, container);
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
    [
      "a model that nobody has defined",
      3,
      rfc.IommuPageTableBind.encode({ model: 6, addr_width: 48, pasid: 1 }),
      "EOPNOTSUPP",
    ],
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
