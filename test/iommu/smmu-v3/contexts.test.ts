import { describe, expect, test } from "vitest";
import { featuresOf, usualRegisters } from "../../../src/iommu/smmu-v3/registers.ts";
import { SmmuLab, STREAM } from "./lab.ts";
import { contextWords, type Fields } from "./reference.ts";

const QEMU = usualRegisters(true);
const withBits = (index: number, bits: number) => ({
  ...QEMU,
  idr: QEMU.idr.map((register, at) => (at === index ? (register | bits) >>> 0 : register)),
});
/** Two-level tables (CD2L), and substreams of 16 bits. */
const SUBSTREAMS = featuresOf({ ...withBits(0, 1 << 19), idr: withBits(0, 1 << 19).idr.with(1, 0x0273_0410) });
const PLAIN = featuresOf(QEMU);
const HTTU = featuresOf(withBits(0, 2 << 6));

const CONTEXTS = 0x10_0000n;
const TABLE = 0x20_0000n;
const DATA = 0x40_0000n;
/** Valid, stage 1. */
const STAGE_1 = 0b1011n;
/** Of a page: valid, for all requests, accessed, of one address space. */
const PAGE = 0xc43n;
const [AF, READ_ONLY, DBM] = [1n << 10n, 1n << 7n, 1n << 51n];

/** 25 bits in one table of 16 entries of level 2, and pages of level 3. */
const FIELDS: Fields = {
  ...{ T0SZ: 39, T1SZ: 39, granule0: 4, granule1: 4, EPD0: false, EPD1: true, TBI0: false, TBI1: false },
  ...{ HAD0: false, HAD1: false, IPS: 44, AFFD: false, HA: false, HD: false, PAN: false, R: true, ASID: 1 },
  ...{ TTB0: TABLE, TTB1: 0n },
};

function put(lab: SmmuLab, at: bigint, fields: Partial<Fields> = {}): void {
  for (const [index, word] of contextWords({ ...FIELDS, ...fields }).entries())
    lab.memory.set(at + BigInt(index * 8), word);
}

/** A page of a table's first 2 MiB leads to a page of data, which begins with a number. */
function page(lab: SmmuLab, table: bigint, index: number, value: bigint, flags = PAGE): bigint {
  const slot = table + 0x1000n + BigInt(index * 8);
  lab.memory.set(table, (table + 0x1000n) | 3n);
  lab.memory.set(slot, (DATA + value * 0x1000n) | flags);
  lab.memory.set(DATA + value * 0x1000n, value);
  return slot;
}

function lab(features = PLAIN, fields: Partial<Fields> = {}): SmmuLab {
  const made = new SmmuLab(features);
  put(made, CONTEXTS, fields);
  page(made, TABLE, 0, 7n);
  made.install(CONTEXTS | STAGE_1);
  return made;
}

const idOf = (event: bigint[] | undefined) => (event === undefined ? undefined : Number(event[0]! & 0xffn));

describe("context descriptors", () => {
  const S1DSS = { terminate: 0n, bypass: 1n, first: 2n } as const;
  const bits = (count: number) => BigInt(count) << 59n;
  const TWO_LEVELS = 1n << 4n;

  test("of a linear table: each substream has its own, and its own address space", () => {
    const made = new SmmuLab(SUBSTREAMS);
    for (const substream of [0, 1, 5]) {
      const table = TABLE + BigInt(substream) * 0x10000n;
      put(made, CONTEXTS + BigInt(substream * 64), { TTB0: table, ASID: 10 + substream });
      page(made, table, 0, 20n + BigInt(substream));
    }
    made.memory.set(CONTEXTS + 64n * 6n, 0n);
    made.install(CONTEXTS | STAGE_1 | bits(3), S1DSS.first);
    expect(made.read(0n)).toBe(20n);
    expect(made.read(0n, { pasid: 1 })).toBe(21n);
    expect(made.read(0n, { pasid: 5 })).toBe(25n);
    expect(made.read(0n, { pasid: 6 })).toContain("C_BAD_CD");
    expect(made.read(0n, { pasid: 8 })).toContain("C_BAD_SUBSTREAMID");
    // word 0 has the substream (SSV, SubstreamID) and the guest's number of the device
    expect(made.ground.events[0]![0]).toBe(0x0an | (1n << 11n) | (6n << 12n) | (STREAM << 32n));
    expect(made.ground.events.at(-1)![0]).toBe(0x08n | (1n << 11n) | (8n << 12n) | (STREAM << 32n));
  });

  test.each([
    ["4K leaves", TWO_LEVELS, 6],
    ["64K leaves", TWO_LEVELS * 2n, 10],
  ])("of a table of two levels with %s", (_what, format, leafBits) => {
    const made = new SmmuLab(SUBSTREAMS);
    const leaf = 0x50_0000n;
    const substream = 2 ** leafBits + 3;
    made.memory.set(CONTEXTS + 8n, leaf | 1n);
    put(made, leaf + 3n * 64n);
    page(made, TABLE, 0, 9n);
    made.memory.map(CONTEXTS);
    made.install(CONTEXTS | STAGE_1 | format | bits(12), S1DSS.first);
    expect(made.read(0n, { pasid: substream })).toBe(9n);
    expect(made.read(0n, { pasid: 3 })).toContain("C_BAD_SUBSTREAMID");
  });

  test.each([
    ["terminates", S1DSS.terminate, "F_STREAM_DISABLED", 7n],
    ["passes them by stage 1", S1DSS.bypass, 7n, 7n],
    ["has them use substream 0", S1DSS.first, 7n, "F_STREAM_DISABLED"],
  ])("S1DSS %s", (_what, dss, without, withZero) => {
    const made = new SmmuLab(SUBSTREAMS);
    put(made, CONTEXTS);
    page(made, TABLE, 0, 7n);
    made.install(CONTEXTS | STAGE_1 | bits(2), dss);
    const address = dss === S1DSS.bypass ? DATA + 0x7000n : 0n;
    const check = (got: bigint | string, wanted: bigint | string) =>
      typeof wanted === "string" ? expect(got).toContain(wanted) : expect(got).toBe(wanted);
    check(made.read(address), without);
    const bytes = new Uint8Array(8);
    const withSubstream = made.place.reach({ pasid: 1, privileged: false, ats: false }).read(0n, bytes);
    expect(withSubstream?.reason).toContain("C_BAD_CD");
    if (dss === S1DSS.first) expect(withZero).toBe("F_STREAM_DISABLED");
  });

  test.each([
    ["more substreams than the SMMU has", bits(17), 0n, SUBSTREAMS],
    [
      "two levels that the SMMU has not",
      TWO_LEVELS | bits(1),
      0n,
      featuresOf({ ...QEMU, idr: QEMU.idr.with(1, 0x0273_0410) }),
    ],
    ["stalls disabled where there are none", 0n, 1n << 27n, PLAIN],
    ["a reserved format", (3n << 4n) | bits(1), 0n, SUBSTREAMS],
    ["a reserved S1DSS", bits(1), 3n, SUBSTREAMS],
  ])("a stream table entry with %s is C_BAD_STE", (_what, first, second, features) => {
    const made = lab(features);
    made.install(CONTEXTS | STAGE_1 | first, second);
    expect(made.read(0n)).toContain("C_BAD_STE");
    expect(made.ground.events.map(idOf)).toEqual([4, 4]);
    expect(made.ground.events[0]!.slice(1)).toEqual([0n, 0n, 0n]);
  });

  test.each([
    ["no valid bit", (word: bigint) => word & ~(1n << 31n)],
    ["AArch32", (word: bigint) => word & ~(1n << 41n)],
    ["big-endian tables", (word: bigint) => word | (1n << 15n)],
    ["no aborts where there is nothing else", (word: bigint) => word & ~(1n << 46n)],
    ["stalls", (word: bigint) => word | (1n << 44n)],
    ["access flags by hardware", (word: bigint) => word | (1n << 43n)],
    ["a range of 49 bits", (word: bigint) => (word & ~0x3fn) | 15n],
    ["a range of 24 bits", (word: bigint) => (word & ~0x3fn) | 40n],
    ["a reserved granule", (word: bigint) => word | (3n << 6n)],
  ])("one with %s is C_BAD_CD", (_what, change) => {
    const made = lab();
    made.memory.set(CONTEXTS, change(made.memory.word(CONTEXTS)));
    expect(made.read(0n)).toContain("C_BAD_CD");
    expect(made.ground.events.map(idOf)).toEqual([0x0a, 0x0a]);
  });

  test("one in memory that the program has not mapped is a fault of stage 2, which no guest hears of", () => {
    const made = lab();
    made.install(0x70_0000n | STAGE_1);
    expect(made.read(0n)).toMatch(/F_TRANSLATION.*stage 2.*context descriptor/);
    expect(made.ground.events).toEqual([]);
  });

  test("one is remembered until CFGI_CD, and R decides what is recorded", () => {
    const made = lab();
    expect(made.read(0n)).toBe(7n);
    put(made, CONTEXTS, { R: false, T0SZ: 39, EPD0: true });
    expect(made.read(0x1000n)).toContain("F_TRANSLATION");
    expect(made.ground.events.length).toBe(2);
    made.place.forgetContexts(0);
    expect(made.read(0n)).toContain("F_TRANSLATION");
    expect(made.ground.events.length).toBe(2);
  });
});

describe("access flags and dirty state by hardware", () => {
  test("a read sets the access flag, a write makes the page writable", () => {
    const made = lab(HTTU, { HA: true, HD: true });
    const slot = page(made, TABLE, 1, 8n, (PAGE & ~AF) | READ_ONLY | DBM);
    expect(made.read(0x1000n)).toBe(8n);
    expect(made.memory.word(slot) & (AF | READ_ONLY)).toBe(AF | READ_ONLY);
    // remembered as read-only, but the tables are asked
    expect(made.write(0x1000n, 99n)).toBeUndefined();
    expect(made.memory.word(slot) & READ_ONLY).toBe(0n);
    expect(made.memory.word(DATA + 0x8000n)).toBe(99n);
  });

  test("nothing is written down for a request that is refused", () => {
    const made = lab(HTTU, { HA: true, HD: true });
    const slot = page(made, TABLE, 1, 8n, (PAGE & ~AF) | READ_ONLY);
    expect(made.write(0x1000n, 99n)).toContain("F_PERMISSION");
    expect(made.memory.word(slot) & AF).toBe(0n);
    const unmapped = page(made, TABLE, 2, 9n, PAGE & ~AF);
    made.memory.allowed.delete((DATA + 0x9000n) / 4096n);
    expect(made.read(0x2000n)).toMatch(/F_TRANSLATION.*stage 2/);
    expect(made.memory.word(unmapped) & AF).toBe(0n);
  });

  test("tables that the program has mapped read-only keep the request from it", () => {
    const made = lab(HTTU, { HA: true });
    page(made, TABLE, 1, 8n, PAGE & ~AF);
    made.memory.map(TABLE + 0x1000n, true, false);
    expect(made.read(0x1000n)).toMatch(/F_PERMISSION.*stage 2.*table/);
    expect(made.ground.events).toEqual([]);
  });
});

describe("what is remembered", () => {
  test("is the parent's, and goes with its last device", () => {
    const made = lab();
    expect(made.read(0n)).toBe(7n);
    made.memory.set(TABLE + 0x1000n, 0n);
    expect(made.read(0n)).toBe(7n);
    // another entry of the same parent: what was translated stays
    made.install(CONTEXTS | STAGE_1);
    expect(made.read(0n)).toContain("F_TRANSLATION");
    expect(made.parent.tlb.size).toBe(0);
  });

  test("stays where another device of the parent is attached", () => {
    const made = lab();
    expect(made.read(0n)).toBe(7n);
    const end = made.parent.hold();
    made.memory.set(TABLE + 0x1000n, 0n);
    made.install(CONTEXTS | STAGE_1);
    expect(made.read(0n)).toBe(7n);
    end();
    made.place.leave();
    expect(made.parent.tlb.size).toBe(0);
  });

  test("has a size", () => {
    const made = lab();
    for (let index = 0; index < 511; index++) page(made, TABLE, index, 7n);
    const end = made.parent.hold();
    for (let asid = 0; asid < 4; asid++) {
      put(made, CONTEXTS, { ASID: asid });
      made.place.forgetContexts(undefined);
      for (let index = 0; index < 511; index++) expect(made.read(BigInt(index) * 0x1000n)).toBe(7n);
    }
    expect(made.parent.tlb.size).toBeLessThanOrEqual(1024);
    end();
  });
});

describe("interrupt messages", () => {
  const DOORBELL = 0x800_0040n;
  const message = new Uint8Array([5, 0, 0, 0]);

  test("arrive where the guest's tables lead to the doorbell's page", () => {
    const made = new SmmuLab(PLAIN);
    put(made, CONTEXTS, { T0SZ: 36 });
    const slot = TABLE + 0x1000n + ((DOORBELL >> 12n) & 0x1ffn) * 8n;
    made.memory.set(TABLE + (DOORBELL >> 21n) * 8n, (TABLE + 0x1000n) | 3n);
    made.memory.map(TABLE + 0x1000n);
    made.install(CONTEXTS | STAGE_1);
    expect(made.place.sendMessage(DOORBELL, message)).toBe(false);
    expect(made.ground.events.map(idOf)).toEqual([0x10]);
    made.memory.set(slot, 0x800_0000n | PAGE);
    expect(made.place.sendMessage(DOORBELL, message)).toBe(true);
    // or to memory, which is written then
    made.memory.set(slot, DATA | PAGE);
    made.memory.map(DATA);
    expect(made.place.sendMessage(DOORBELL, message)).toBe(false);
    expect(made.memory.word(DATA + 0x40n)).toBe(5n);
  });

  test("arrive past stage 1, and nowhere where everything is dropped", () => {
    const made = lab();
    made.install(0b1001n);
    expect(made.place.sendMessage(DOORBELL, message)).toBe(true);
    made.install(0b0001n);
    expect(made.place.sendMessage(DOORBELL, message)).toBe(false);
  });
});
