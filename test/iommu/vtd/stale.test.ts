import { describe, expect, test } from "vitest";
import { HostPasidTable } from "../../../src/iommu/vtd/pasid-table.ts";
import { SecondLevelTable } from "../../../src/iommu/vtd/second-level.ts";
import { VtdUnit } from "../../../src/iommu/vtd/unit.ts";
import { type DescriptorKind, encodeDescriptor } from "../../../src/uapi/intel-invalidation.ts";
import { Random } from "./guest.ts";

const SOURCE = 0x18;
const PASID = 9;
const DOMAIN = 3;
const OTHER = { source: 0x19, pasid: 9, domain: 4 };

/** Guest physical pages: two roots, of which each leads through tables of its own to two page tables; then the data. */
const ROOTS = [0x1000n, 0x2000n];
const TABLES = [0x10_000n, 0x11_000n, 0x12_000n];
const DATA = [0x20_000n, 0x21_000n, 0x22_000n, 0x23_000n];
/** Pages per page table that are used, and 2 MiB areas. */
const SLOTS = 4;
const AREAS = 2;

/** A set of values that something has had since the last invalidation that concerned it. */
class History<T> {
  values: T[];

  constructor(value: T) {
    this.values = [value];
  }

  get now(): T {
    return this.values.at(-1)!;
  }

  set(value: T): void {
    this.values.push(value);
  }

  forget(): void {
    this.values = [this.now];
  }
}

interface Leaf {
  readonly page: bigint;
  readonly write: boolean;
}

/** One guest that binds a table and changes it, with everything that the hardware may still remember written down. */
class Scene {
  readonly unit: VtdUnit;
  readonly second: SecondLevelTable;
  /** The address of its root. */
  readonly top: bigint;
  readonly table: HostPasidTable;
  readonly hosts = new Map<bigint, bigint>();
  readonly mapped = new Set<bigint>();
  /** The root that is bound; undefined when nothing is. */
  readonly root = new History<number | undefined>(undefined);
  /** By root and page of the guest: which page table. Told by page, since a translation remembers its own way. */
  readonly areas = ROOTS.map(() => Array.from({ length: AREAS * SLOTS }, () => new History<number | undefined>(0)));
  /** By page table and page of the guest. */
  readonly leaves = TABLES.map(() =>
    Array.from({ length: AREAS * SLOTS }, () => new History<Leaf | undefined>(undefined)),
  );
  readonly ats: boolean;

  constructor(random: Random, ats: boolean) {
    this.ats = ats;
    const unit = new VtdUnit({ capacity: random.pick([2, 8, 64]), seed: 1 + random.below(99) });
    this.unit = unit;
    const top = unit.memory.allocatePage();
    this.top = top;
    this.second = new SecondLevelTable(unit.memory, top, 4);
    for (const page of [...ROOTS, ...TABLES, 0x3000n, 0x4000n, 0x5000n, 0x6000n, ...DATA]) {
      const host = unit.memory.allocatePage();
      this.hosts.set(page, host);
      this.map(page);
    }
    // root -> directory pointers -> directory; two of each
    for (const [i, root] of ROOTS.entries()) {
      this.poke(root, 0x3007n + BigInt(i) * 0x2000n);
      this.poke(0x3000n + BigInt(i) * 0x2000n, 0x4007n + BigInt(i) * 0x2000n);
      for (let area = 0; area < AREAS; area++) this.setArea(i, area, area);
    }
    for (const areas of this.areas) for (const area of areas) area.forget();
    for (const [i, page] of DATA.entries()) this.poke(page, BigInt(1000 + i));
    this.table = new HostPasidTable(unit.memory, 6);
    const context = { tables: unit.memory, directory: this.table.directory, bits: 6, pageRequests: false };
    unit.setContext(SOURCE, { ...context, ...(ats && { deviceTlb: unit.newTranslationCache() }) });
    unit.registerSecondLevel(top, this.second);
  }

  poke(page: bigint, value: bigint, offset = 0n): void {
    this.unit.memory.store(this.hosts.get(page)! + offset, value);
  }

  map(page: bigint): void {
    this.second.map(page, this.hosts.get(page)!, 12, true, true);
    this.mapped.add(page);
  }

  /** What the host does when the guest's memory shrinks: it clears the entry and invalidates the domain. */
  unmap(page: bigint): void {
    this.second.unmap(page);
    this.mapped.delete(page);
    this.submit("iotlb", { granularity: 2, domain: DOMAIN });
    if (this.ats) this.submit("pasidDeviceTlb", { sourceId: SOURCE, global: 1, size: 1, address: 2n ** 51n - 1n });
    this.forgetTranslations();
  }

  setArea(root: number, area: number, table: number | undefined): void {
    const entry = table === undefined ? 0n : TABLES[table]! | 7n;
    this.poke(0x4000n + BigInt(root) * 0x2000n, entry, BigInt(area * 8));
    for (let slot = 0; slot < SLOTS; slot++) this.areas[root]![area * SLOTS + slot]!.set(table);
  }

  setLeaf(table: number, slot: number, leaf: Leaf | undefined): void {
    this.poke(TABLES[table]!, leaf ? leaf.page | 5n | (leaf.write ? 2n : 0n) : 0n, BigInt(slot * 8));
    for (let area = 0; area < AREAS; area++) this.leaves[table]![area * SLOTS + slot]!.set(leaf);
  }

  bind(root: number | undefined): void {
    if (root === undefined) this.table.clear(PASID);
    else {
      const firstLevel = {
        root: ROOTS[root]!,
        levels: 4 as const,
        writeProtect: true,
        noExecute: true,
        smep: false,
        extendedAccessed: false,
      };
      this.table.set(PASID, {
        type: "nested",
        domain: DOMAIN,
        secondLevel: this.top,
        firstLevel,
        supervisor: false,
        execute: false,
      });
    }
    this.root.set(root);
  }

  submit(kind: DescriptorKind, fields: Record<string, bigint | number>): void {
    expect(this.unit.submit(encodeDescriptor(kind, fields))).toBeUndefined();
  }

  /** All that may be remembered of translations is gone. */
  forgetTranslations(): void {
    for (const areas of this.areas) for (const area of areas) area.forget();
    for (const leaves of this.leaves) for (const leaf of leaves) leaf.forget();
  }

  /** Everything that an access may find, what is true now first. */
  outcomes(area: number, slot: number): (Leaf | undefined)[] {
    const found: (Leaf | undefined)[] = [];
    for (const root of [...this.root.values].reverse()) {
      if (root === undefined) {
        found.push(undefined);
        continue;
      }
      for (const table of [...this.areas[root]![area * SLOTS + slot]!.values].reverse()) {
        if (table === undefined) found.push(undefined);
        else found.push(...[...this.leaves[table]![area * SLOTS + slot]!.values].reverse());
      }
    }
    return found;
  }
}

function run(seed: number, ats: boolean, steps: number): { stale: number; through: number } {
  const random = new Random(seed);
  const scene = new Scene(random, ats);
  const { unit } = scene;
  let stale = 0;
  let through = 0;
  for (let step = 0; step < steps; step++) {
    const area = random.below(AREAS);
    const slot = random.below(SLOTS);
    const address = BigInt(area) * 0x20_0000n + BigInt(slot) * 4096n;
    switch (random.below(12)) {
      case 0:
      case 1:
        scene.setLeaf(
          random.below(TABLES.length),
          slot,
          random.chance(20) ? undefined : { page: random.pick(DATA), write: random.chance(70) },
        );
        break;
      case 2:
        if (random.chance(40))
          scene.setArea(random.below(2), area, random.chance(10) ? undefined : random.below(TABLES.length));
        break;
      case 3: {
        // by address; the leaf hint leaves what is remembered of upper levels
        const leafHint = random.below(2);
        scene.submit("pasidIotlb", { granularity: 3, domain: DOMAIN, pasid: PASID, leafHint, address: address >> 12n });
        if (ats) scene.submit("pasidDeviceTlb", { sourceId: SOURCE, pasid: PASID, address: address >> 12n });
        for (const leaves of scene.leaves) leaves[area * SLOTS + slot]!.forget();
        if (!leafHint) for (const areas of scene.areas) areas[area * SLOTS + slot]!.forget();
        break;
      }
      case 4:
        scene.submit("pasidIotlb", { granularity: 2, domain: DOMAIN, pasid: PASID });
        if (ats) scene.submit("pasidDeviceTlb", { sourceId: SOURCE, pasid: PASID, size: 1, address: 2n ** 51n - 1n });
        scene.forgetTranslations();
        break;
      case 5: {
        if (!random.chance(30)) break;
        scene.bind(random.pick([0, 1, undefined]));
        if (random.chance(60)) {
          scene.submit("pasidCache", { granularity: 1, domain: DOMAIN, pasid: PASID });
          scene.submit("pasidIotlb", { granularity: 2, domain: DOMAIN, pasid: PASID });
          if (ats) scene.submit("pasidDeviceTlb", { sourceId: SOURCE, pasid: PASID, size: 1, address: 2n ** 51n - 1n });
          scene.root.forget();
          scene.forgetTranslations();
        }
        break;
      }
      case 6: {
        const page = random.pick(DATA);
        if (scene.mapped.has(page) && random.chance(30)) scene.unmap(page);
        else scene.map(page);
        break;
      }
      case 7: {
        // invalidations of others change nothing here
        const before = unit.iotlb.size;
        scene.submit("pasidIotlb", { granularity: 2, domain: OTHER.domain, pasid: PASID });
        scene.submit("pasidIotlb", { granularity: 2, domain: DOMAIN, pasid: PASID + 1 });
        scene.submit("pasidCache", { granularity: 0, domain: OTHER.domain });
        expect(unit.iotlb.size).toBe(before);
        break;
      }
      default: {
        const isWrite = random.chance(30);
        const bytes = new Uint8Array(8);
        const options = { ats };
        const outcomes = scene.outcomes(area, slot);
        const possible = outcomes.map((leaf) =>
          leaf && scene.mapped.has(leaf.page) && (!isWrite || leaf.write) ? leaf.page : undefined,
        );
        const where = `seed ${seed} step ${step} ${isWrite ? "write" : "read"} ${address.toString(16)}`;
        let reached: bigint | undefined;
        if (isWrite) {
          const mark = BigInt(step) + (1n << 40n);
          new DataView(bytes.buffer).setBigUint64(0, mark, true);
          const before = DATA.map((page) => unit.memory.load(scene.hosts.get(page)! + 8n));
          const fault = unit.write(SOURCE, PASID, address + 8n, bytes, options);
          const changed = DATA.filter((page, i) => unit.memory.load(scene.hosts.get(page)! + 8n) !== before[i]);
          expect(changed.length, where).toBe(fault ? 0 : 1);
          reached = changed[0];
        } else {
          const fault = unit.read(SOURCE, PASID, address, bytes, options);
          const value = Number(new DataView(bytes.buffer).getBigUint64(0, true));
          reached = fault ? undefined : DATA[value - 1000];
          expect(reached === undefined, where).toBe(fault !== undefined);
        }
        expect(possible, where).toContain(reached);
        if (reached !== undefined) {
          through++;
          if (reached !== possible[0]) stale++;
        }
      }
    }
  }
  return { stale, through };
}

describe("what the caches may answer", () => {
  test.each([
    ["without", false],
    ["with", true],
  ])("random binds, changes, invalidations and DMA, %s a device TLB", (_name, ats) => {
    let stale = 0;
    let through = 0;
    for (let seed = 1; seed <= 150; seed++) {
      const counted = run(seed, ats, 400);
      stale += counted.stale;
      through += counted.through;
    }
    expect(through).toBeGreaterThan(3000);
    // the caches do matter
    expect(stale).toBeGreaterThan(100);
  });
});
