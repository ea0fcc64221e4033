import { expect, test } from "vitest";
import type { FirstLevelTable } from "../../src/iommu/proposed.ts";
import { GuestPages, Random, referenceWalk } from "../iommu/vtd/guest.ts";
import { ABLE, GPA, NEST_PARENT, NestingLab, PAGES, PASID_FLAG, PLAIN, page } from "./nesting-lab.ts";

const PAGE = 4096;
/** 2 MiB of the guest that are one mapping, so that large pages stay large. */
const LARGE = 0x4000_0000n;
const LARGE_BYTES = 0x20_0000;
const TABLES = 8;
/** Addresses that the device uses; table entries that lead to others are never looked at. */
const PROBES = [0n, 0x1000n, 0x1f_e000n, 0x20_0000n, 0x4000_0000n, 0x80_0000_0000n, 0x7fff_ffff_f000n];

/** The guest's memory as the program sees it now. */
class LiveGuest extends GuestPages {
  readonly #lab: NestingLab;
  readonly #large: number;
  readonly mapped = new Set<bigint>();

  constructor(lab: NestingLab, large: number) {
    super();
    this.#lab = lab;
    this.#large = large;
    for (let index = 0; index < PAGES; index++) this.mapped.add(page(index) / 4096n);
  }

  /** Where the program has a guest-physical address. */
  place(address: bigint): number {
    if (address >= LARGE) return this.#large + Number(address - LARGE);
    return this.#lab.guest + Number(address - GPA);
  }

  override load(address: bigint): bigint {
    return this.#lab.peek(this.place(address));
  }

  override hostPage(number: bigint) {
    const within = number * 4096n - LARGE;
    const isThere = (within >= 0n && within < LARGE_BYTES) || this.mapped.has(number);
    return isThere ? { host: number * 4096n, read: true, write: true } : undefined;
  }
}

function entry(random: Random, level: number): bigint {
  const flags = (random.chance(92) ? 1n : 0n) | (random.chance(85) ? 2n : 0n) | (random.chance(92) ? 4n : 0n);
  if (level === 2 && random.chance(25)) return LARGE | 0x80n | flags;
  if (level === 1)
    return (random.chance(20) ? LARGE + BigInt(random.below(512) * PAGE) : page(random.below(PAGES))) | flags;
  return page(random.below(TABLES)) | flags;
}

test.each([
  ["with a PASID, through the device's TLB,", true, 1],
  ["with a PASID, through the IOMMU's,", false, 2],
  ["without a PASID", undefined, 3],
])("DMA %s through random tables is what the reference says, once they are invalidated", (_what, ats, seed) => {
  const random = new Random(seed!);
  const lab = new NestingLab();
  // page by page, so that they can go one by one
  lab.unmapIoas(lab.iommu, lab.space);
  for (let index = 0; index < PAGES; index++) {
    lab.mapIoas(lab.iommu, lab.space, lab.guest + index * PAGE, BigInt(PAGE), { iova: page(index) });
  }
  const large = lab.memory(LARGE_BYTES);
  lab.mapIoas(lab.iommu, lab.space, large, BigInt(LARGE_BYTES), { iova: LARGE });
  const { fd, id } = lab.device(ats === undefined ? PLAIN! : ABLE!);
  const parent = lab.hwpt(lab.iommu, id, lab.space, NEST_PARENT | PASID_FLAG);
  const nested = lab.nested(id, parent, { flags: PASID_FLAG });
  const pasid = ats === undefined ? 0n : (1n << 31n) | (ats ? 1n << 30n : 0n) | 5n;
  lab.back = page(15);
  lab.attach(fd, parent);
  if (pasid !== 0n) expect(lab.attachPasid(fd, 5, nested)).toBe(nested);
  const table: FirstLevelTable = {
    root: GPA,
    levels: 4,
    writeProtect: false,
    noExecute: true,
    smep: false,
    extendedAccessed: false,
  };
  const guest = new LiveGuest(lab, large);
  const change = () => {
    const probe = random.pick(PROBES);
    const level = 1 + random.below(4);
    const slot = Number((probe >> BigInt(12 + 9 * (level - 1))) & 0x1ffn);
    lab.poke(lab.guest + random.below(TABLES) * PAGE + slot * 8, entry(random, level));
  };
  for (let i = 0; i < 300; i++) change();
  const outcomes = { reached: 0, refused: 0 };
  for (let round = 0; round < 1500; round++) {
    const index = random.below(PAGES - 1);
    const number = page(index) / 4096n;
    if (random.chance(4) && guest.mapped.delete(number)) {
      expect(lab.unmapIoas(lab.iommu, lab.space, page(index), BigInt(PAGE))).toBe(BigInt(PAGE));
    } else if (random.chance(60) && !guest.mapped.has(number)) {
      guest.mapped.add(number);
      lab.mapIoas(lab.iommu, lab.space, guest.place(page(index)), BigInt(PAGE), { iova: page(index) });
    }
    if (random.chance(50)) {
      for (let changes = random.below(4); changes > 0; changes--) change();
      const entries = random.chance(50)
        ? [{ addr: 0n, npages: 2n ** 64n - 1n }]
        : PROBES.map((addr) => ({ addr, npages: 1n }));
      expect(lab.invalidate(nested, entries).result).toBe(0);
    }
    const address = random.pick(PROBES) + BigInt(random.below(512) * 8);
    const toMemory = random.chance(40);
    const access = { kind: toMemory ? "write" : "read", privileged: false } as const;
    const expected = referenceWalk(guest, table, address, access);
    const at = "fault" in expected ? undefined : guest.place(expected.address);
    const isTable = at !== undefined && at < lab.guest + TABLES * PAGE && at >= lab.guest;
    // a transfer into the tables would be a change that nobody invalidates
    if (toMemory && isTable) continue;
    outcomes[at === undefined ? "refused" : "reached"]++;
    const marked = "fault" in expected ? new Map<bigint, bigint>() : expected.marks;
    const before = at === undefined ? 0n : lab.peek(at);
    const where = `round ${round}, ${access.kind} at 0x${address.toString(16)}`;
    if (pasid === 0n) lab.attach(fd, nested);
    lab.transfer(fd, address, toMemory, pasid);
    for (const [slot, value] of marked) expect(lab.peek(guest.place(slot)), `${where}: marks`).toBe(value);
    if (pasid !== 0n) expect(lab.state(fd), where).toBe(at === undefined ? "failed" : "done");
    if (pasid === 0n) lab.attach(fd, parent);
    const buffer = lab.buffer(fd);
    if (toMemory && at !== undefined) expect(lab.peek(at), where).toBe(buffer);
    const isMarked = at !== undefined && [...marked.keys()].some((slot) => guest.place(slot) === at);
    if (!toMemory && !isMarked) expect(buffer, where).toBe(at === undefined ? 0n : before);
  }
  // both kinds were there in numbers
  expect(outcomes.reached).toBeGreaterThan(200);
  expect(outcomes.refused).toBeGreaterThan(200);
});
