import { describe, expect, test } from "vitest";
import type { FirstLevelTable } from "../../../src/iommu/proposed.ts";
import type { Access } from "../../../src/iommu/vtd/access.ts";
import { HostPasidTable } from "../../../src/iommu/vtd/pasid-table.ts";
import { SecondLevelTable } from "../../../src/iommu/vtd/second-level.ts";
import { VtdUnit } from "../../../src/iommu/vtd/unit.ts";
import { GuestPages, Random, referenceWalk } from "./guest.ts";

const SOURCE = 0x20;
const PASID = 77;
const DOMAIN = 5;

/** A guest whose page tables and data lie on few pages, so that random entries lead somewhere. */
function randomGuest(random: Random, capacity: number) {
  const unit = new VtdUnit({ capacity, seed: 1 + random.below(1000) });
  const root = unit.memory.allocatePage();
  const second = new SecondLevelTable(unit.memory, root, random.pick([3, 4] as const));
  const guest = new GuestPages();
  const pages = 24;
  for (let page = 0; page < pages; page++) {
    if (random.chance(6)) continue;
    const host = unit.memory.allocatePage();
    const mode = random.below(20);
    const entry = { host, read: mode !== 0, write: mode > 1 };
    second.map(BigInt(page) << 12n, host, 12, entry.read, entry.write);
    if (entry.read || entry.write) guest.second.set(BigInt(page), entry);
  }
  // a large second-level page: what large leaves of the guest can point into
  const large = guest.large.guest;
  second.map(large, guest.large.host, 30, true, true);

  const firstLevel: FirstLevelTable = {
    root: BigInt(random.below(3)) << 12n,
    levels: random.pick([4, 5] as const),
    writeProtect: random.chance(50),
    noExecute: random.chance(70),
    smep: random.chance(50),
    extendedAccessed: random.chance(50),
  };
  const indices = [0, 1, 2, 511];
  for (let page = 0; page < pages; page++) {
    for (const index of indices) {
      const slot = (BigInt(page) << 12n) + BigInt(index * 8);
      let entry = random.chance(93) ? 1n : 0n;
      if (random.chance(85)) entry |= 2n;
      if (random.chance(90)) entry |= 4n;
      if (random.chance(30)) entry |= 0x20n | (random.chance(50) ? 0x40n : 0n);
      if (random.chance(12)) {
        entry |= 0x80n | large;
        if (random.chance(30)) entry |= 0x1000n;
        if (random.chance(30)) entry |= 0x20_0000n;
        if (random.chance(10)) entry |= 0x2000n;
      } else {
        entry |= BigInt(random.below(pages + 1)) << 12n;
      }
      if (random.chance(12)) entry |= 1n << 63n;
      guest.words.set(slot, entry);
      const host = guest.second.get(BigInt(page))?.host;
      if (host !== undefined) unit.memory.store(host + BigInt(index * 8), entry);
    }
  }
  const table = new HostPasidTable(unit.memory, 10);
  table.set(PASID, {
    type: "nested",
    domain: DOMAIN,
    secondLevel: root,
    firstLevel,
    supervisor: true,
    execute: true,
  });
  unit.setContext(SOURCE, { tables: unit.memory, directory: table.directory, bits: 10, pageRequests: false });
  unit.registerSecondLevel(root, second);
  return { unit, guest, firstLevel, indices };
}

function randomAddress(random: Random, indices: readonly number[], levels: number): bigint {
  let address = 0n;
  for (let level = 0; level < levels; level++) address = (address << 9n) | BigInt(random.pick(indices));
  address = (address << 12n) | BigInt(random.below(512) * 8);
  const bits = levels === 5 ? 57 : 48;
  // mostly canonical
  return random.chance(97) ? BigInt.asUintN(64, BigInt.asIntN(bits, address)) : address | (1n << 60n);
}

/** Compares `accesses` random accesses of one random guest with the reference; returns how many got through. */
function compare(seed: number, capacity: number, accesses: number): number {
  const random = new Random(seed);
  const { unit, guest, firstLevel, indices } = randomGuest(random, capacity);
  const tableHosts = new Set([...guest.words.keys()].map((slot) => guest.second.get(slot >> 12n)?.host));
  let through = 0;
  for (let i = 0; i < accesses; i++) {
    const address = randomAddress(random, indices, firstLevel.levels);
    const access: Access = { kind: random.pick(["read", "write", "execute"] as const), privileged: random.chance(40) };
    const expected = referenceWalk(guest, firstLevel, address, access);
    const options = { privileged: access.privileged, execute: access.kind === "execute" };
    const bytes = new Uint8Array(8);
    const where = `seed ${seed}, ${access.kind} ${access.privileged} at ${address.toString(16)}`;
    if ("fault" in expected) {
      const fault =
        access.kind === "write"
          ? unit.write(SOURCE, PASID, address, bytes, options)
          : unit.read(SOURCE, PASID, address, bytes, options);
      expect(fault?.reason, where).toBe(expected.fault);
      for (const [slot, entry] of expected.marks ?? []) guest.words.set(slot, entry);
      expectSameTables(guest, unit, where);
      continue;
    }
    through++;
    // no data in the tables' own pages: what a write would do there, the reference does not follow
    const value = BigInt(random.below(2 ** 31));
    const isTable = tableHosts.has(expected.address - (expected.address % 4096n));
    if (access.kind === "write" && !isTable) {
      new DataView(bytes.buffer).setBigUint64(0, value, true);
      expect(unit.write(SOURCE, PASID, address, bytes, options), where).toBeUndefined();
      expect(unit.memory.load(expected.address), where).toBe(value);
    } else {
      for (const [slot, entry] of expected.marks) guest.words.set(slot, entry);
      if (access.kind === "write") {
        // the same word again
        new DataView(bytes.buffer).setBigUint64(0, wordAt(guest, unit, expected.address), true);
        expect(unit.write(SOURCE, PASID, address, bytes, options), where).toBeUndefined();
      } else {
        expect(unit.read(SOURCE, PASID, address, bytes, options), where).toBeUndefined();
        expect(new DataView(bytes.buffer).getBigUint64(0, true), where).toBe(unit.memory.load(expected.address));
      }
    }
    for (const [slot, entry] of expected.marks) guest.words.set(slot, entry);
    expectSameTables(guest, unit, where);
  }
  return through;
}

/** The word at a host address as the guest has it after the walk's marks. */
function wordAt(guest: GuestPages, unit: VtdUnit, host: bigint): bigint {
  for (const [slot, entry] of guest.words) {
    const page = guest.second.get(slot >> 12n);
    if (page && page.host + (slot & 0xfffn) === host) return entry;
  }
  return unit.memory.load(host);
}

/** Every word of the guest's tables is as the reference has left it, the marks included. */
function expectSameTables(guest: GuestPages, unit: VtdUnit, where: string): void {
  const wrong = [...guest.words].find(([slot, entry]) => {
    const host = guest.second.get(slot >> 12n)?.host;
    return host !== undefined && unit.memory.load(host + (slot & 0xfffn)) !== entry;
  });
  expect(wrong, where).toBeUndefined();
}

describe("nested walks of random page tables", () => {
  test("agree with the reference in result, fault and accessed and dirty bits", () => {
    let through = 0;
    for (let seed = 1; seed <= 150; seed++) through += compare(seed, 0, 60);
    expect(through).toBeGreaterThan(900);
  });

  test("agree with full caches too, as long as nothing changes but the marks", () => {
    let through = 0;
    for (let seed = 1000; seed <= 1060; seed++) through += compare(seed, 16, 60);
    expect(through).toBeGreaterThan(500);
  });
});
