import { expect, test } from "vitest";
import { convertCommand } from "../../../src/iommu/smmu-v3/commands.ts";
import { featuresOf } from "../../../src/iommu/smmu-v3/registers.ts";
import { Random } from "../vtd/guest.ts";
import { SmmuLab, STREAM } from "./lab.ts";
import { contextWords, type Fields, ReferenceTlb, walk } from "./reference.ts";

/** All granules, 44 bits, access flags and dirty state by hardware, ranges; and small tables. */
const FEATURES = featuresOf({
  idr: [0x0d4c_109b, 0x0273_0510, 0, 0x1614, 0, 0x74],
  iidr: 0,
  aidr: 1,
  coherentWriteBack: true,
});
const CONTEXT = 0x10_0000n;
/** 64 KiB each, so that any granule's tables fit. */
const TABLES = [0x20_0000n, 0x21_0000n, 0x22_0000n, 0x23_0000n, 0x24_0000n] as const;
const DATA = [0x40_0000n, 0x60_0000n, 0x4000_0000n] as const;
const SEEDS = process.env.UVFIO_SMMU_SEED ? [Number(process.env.UVFIO_SMMU_SEED)] : [1, 2, 3, 4, 5, 6, 7, 8];

function fields(random: Random): Fields {
  const granule = () => random.pick([4, 16, 64] as const);
  const size = () => 64 - random.pick([48, 47, 44, 42, 39, 36, 34, 32, 30, 25, 21]);
  const hardware = random.chance(50);
  return {
    ...{ T0SZ: size(), T1SZ: size(), granule0: granule(), granule1: granule() },
    ...{ EPD0: random.chance(8), EPD1: random.chance(30), TBI0: random.chance(30), TBI1: random.chance(30) },
    ...{ HAD0: random.chance(20), HAD1: random.chance(20), IPS: random.pick([32, 36, 40, 44, 48] as const) },
    ...{ AFFD: random.chance(30), HA: hardware, HD: hardware && random.chance(60), PAN: random.chance(20) },
    ...{ R: random.chance(90), ASID: random.below(4), TTB0: TABLES[0], TTB1: TABLES[1] },
  };
}

/** An entry of any level: a table, a page or block, or nothing, with all bits that mean something. */
function entry(random: Random): bigint {
  const kind = random.below(100);
  if (kind < 8) return BigInt(random.below(2)) << 1n;
  const isTable = kind < 60;
  const target = isTable ? random.pick(TABLES) : random.pick(DATA);
  const far = random.chance(4) ? 1n << BigInt(random.pick([33, 37, 41, 45, 47])) : 0n;
  let value = target | far | (random.chance(88) ? 3n : 1n);
  for (const [bit, percent] of [
    [6, 85],
    [7, 40],
    [10, 65],
    [11, 70],
    [51, 50],
    [52, 20],
    [59, 20],
    [61, 8],
    [62, 8],
  ] as const)
    if (random.chance(percent)) value |= 1n << BigInt(bit);
  return value;
}

test.each(SEEDS)("random tables translate as the reference has it: seed %i (UVFIO_SMMU_SEED)", (seed) => {
  const random = new Random(seed);
  const lab = new SmmuLab(FEATURES);
  const { memory } = lab;
  for (const table of TABLES) for (let page = 0n; page < 16n; page++) memory.map(table + page * 4096n);
  for (const base of DATA)
    for (let page = 0n; page < 32n; page++)
      if (random.chance(85)) memory.map(base + page * 4096n, random.chance(93), random.chance(85));
  // stage 2 takes a part of the tables away, and lets another one be read only
  memory.allowed.delete(TABLES[4] / 4096n);
  memory.map(TABLES[3], true, false);
  let f = fields(random);
  const tlb = new ReferenceTlb();
  const command = (first: bigint, second = 0n) => {
    const converted = convertCommand([first, second], lab.ground, FEATURES.ranges);
    if (converted.kind === "contexts") lab.place.forgetContexts(converted.substream);
    else if (converted.kind === "all") lab.parent.tlb.clear();
    else if (converted.kind === "asid") lab.parent.tlb.clearAsid(converted.asid);
    else if (converted.kind === "range") lab.parent.tlb.clearRange(converted.asid, converted.range);
  };
  const setContext = () => {
    for (const [index, word] of contextWords(f).entries()) memory.set(CONTEXT + BigInt(index * 8), word);
    command(0x06n | (STREAM << 32n));
    // another meaning of the same addresses: nothing that was remembered may stay
    command(0x10n);
    tlb.drop(() => true);
  };
  lab.install(CONTEXT | 0b1011n);
  setContext();
  const second = (address: bigint) => (address < 2n ** 44n ? memory.allowed.get(address / 4096n) : undefined);
  const word = (address: bigint) => memory.word(address);
  const counts = { reached: 0, stage1: 0, stage2: 0, remembered: 0, marked: 0 };

  for (let round = 0; round < 4000; round++) {
    if (random.chance(1)) {
      f = fields(random);
      setContext();
    }
    if (random.chance(20)) {
      const at = random.pick(TABLES.slice(0, 4)) + BigInt(random.pick([0, 1, 2, 3, 8, 511]) * 8);
      memory.set(at, entry(random));
      // tables may change at any level, so that pages of another size would be beside those that are remembered
      command(0x10n);
      tlb.drop(() => true);
    }
    const high = random.chance(35);
    const bits = 64 - (high ? f.T1SZ : f.T0SZ);
    const granuleShift = { 4: 12, 16: 14, 64: 16 }[high ? f.granule1 : f.granule0];
    let address = 0n;
    for (let shift = granuleShift; shift < bits; shift += granuleShift - 3)
      address |= BigInt(random.pick([0, 0, 1, 2, 3])) << BigInt(shift);
    address = BigInt.asUintN(bits, address) | BigInt(random.below(512) * 8);
    if (high) address |= BigInt.asUintN(64, -1n << BigInt(bits));
    if (random.chance(15)) address ^= 1n << BigInt(random.pick([40, 50, 56, 60, 63]));
    const request = { write: random.chance(40), privileged: random.chance(20) };
    const isHigh = ((address >> 55n) & 1n) === 1n;
    const plain = (isHigh ? f.TBI1 : f.TBI0) ? BigInt.asUintN(64, BigInt.asIntN(56, address)) : address;
    const cached = walk(f, address, request, { second, word }, 44);
    const known = isOnSide(f, address) ? tlb.find(f.ASID, plain) : undefined;
    const isKnown = known !== undefined && !(request.write && known.allowed.dirtyLater);
    const expected = isKnown ? byMemory(known, f, plain, request) : cached;
    if (isKnown) counts.remembered++;

    const where = `seed ${seed}, round ${round}: ${request.write ? "write" : "read"} ${request.privileged ? "privileged " : ""}at 0x${address.toString(16)} ${JSON.stringify({ ...f, TTB0: 0, TTB1: 0 })}`;
    const isTable =
      "address" in expected &&
      TABLES.some((table) => expected.address >= table && expected.address < table + 0x1_0000n);
    if (request.write && isTable) continue;
    lab.ground.events.length = 0;
    const value = BigInt(round) * 0x1_0001n;
    const before = "address" in expected ? memory.word(expected.address) : 0n;
    const how = { privileged: request.privileged };
    const got = request.write ? lab.write(address, value, how) : lab.read(address, how);
    if ("event" in expected) {
      counts[expected.stage === 1 ? "stage1" : "stage2"]++;
      expect(got, where).toContain(`${expected.event} (`);
      expect(String(got).includes("stage 2"), where).toBe(expected.stage === 2);
      const told = expected.stage === 1 && f.R;
      expect(lab.ground.events.length, where).toBe(told ? 2 : 0);
      if (told) expect(lab.ground.events[0]![2], where).toBe(address);
      continue;
    }
    counts.reached++;
    if ("mark" in expected && expected.mark) {
      counts.marked++;
      expect(memory.word(expected.mark.at), where).toBe(expected.mark.value);
    }
    if (request.write) expect(memory.word(expected.address), where).toBe(value);
    else if (!isTable) expect(got, where).toBe(before);
    if (!isKnown && "size" in expected) {
      // stage 2 has pages of 4 KiB here
      const start = plain - (plain % 4096n);
      tlb.add({
        asid: expected.global ? undefined : f.ASID,
        ...{ start, size: 4096n, to: expected.address - (expected.address % 4096n) },
        ...{ allowed: expected.allowed, second: expected.second },
      });
    }
    const forgotten = random.below(100);
    if (forgotten < 10) {
      const page = plain - (plain % 4096n);
      command(0x12n | (BigInt(f.ASID) << 48n), page | 1n);
      tlb.drop((one) => one.start === page && (one.asid === undefined || one.asid === f.ASID));
    } else if (forgotten < 13) {
      const other = random.below(4);
      command(0x11n | (BigInt(other) << 48n));
      tlb.drop((one) => one.asid === other);
    } else if (forgotten < 16) {
      // 16 pages of 4 KiB: NUM 7, SCALE 1
      const start = plain - (plain % 0x1_0000n);
      command(0x13n | (7n << 12n) | (1n << 20n), start | (1n << 10n));
      tlb.drop((one) => one.start >= start && one.start < start + 0x1_0000n);
    }
  }
  // all kinds were there in numbers
  for (const [kind, count] of Object.entries(counts))
    expect(count, `${kind} of seed ${seed}`).toBeGreaterThan(kind === "marked" ? 0 : 15);
});

/**
 * Whether the SMMU looks an address up at all: a disabled side, or an address between the two, has nothing remembered.
 */
function isOnSide(f: Fields, address: bigint): boolean {
  const result = walk({ ...f, EPD0: f.EPD0, EPD1: f.EPD1 }, address, { write: false, privileged: false }, NOTHING, 48);
  return !("event" in result && result.stage === 1);
}

/** Memory in which every walk ends with a fault of stage 2 at its first step. */
const NOTHING = { second: () => undefined, word: () => 0n };

function byMemory(
  known: NonNullable<ReturnType<ReferenceTlb["find"]>>,
  f: Fields,
  address: bigint,
  { write, privileged }: { write: boolean; privileged: boolean },
): { address: bigint } | { event: string; stage: 1 | 2 } {
  const { allowed, second } = known;
  if (privileged ? f.PAN && allowed.unprivileged : !allowed.unprivileged) return { event: "F_PERMISSION", stage: 1 };
  if (write && !allowed.write) return { event: "F_PERMISSION", stage: 1 };
  if (write ? !second.write : !second.read) return { event: "F_PERMISSION", stage: 2 };
  return { address: known.to + (address - known.start) };
}
