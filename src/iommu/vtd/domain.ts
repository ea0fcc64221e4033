import { encodeDescriptor, WHOLE_DEVICE_TLB } from "../../uapi/intel-invalidation.ts";
import type { AskForPage, DmaTarget, PasidRequest } from "../dma-target.ts";
import { type Mappings, NO_PASID, type Stage } from "../domain.ts";
import type { FirstStage, GuestPasidTable, ProposedDomain } from "../proposed.ts";
import type { Place, Requester, RequesterIdentity } from "../requester.ts";
import { MappingsLevel } from "./mappings-level.ts";
import type { PasidEntry } from "./pasid-entry.ts";
import { PasidTarget } from "./pasid-target.ts";
import { memoryThrough, type SecondLevel } from "./second-level.ts";
import type { TablesBySegment, VtdTables } from "./tables.ts";

/** Something that a unit has for a domain while any place of the domain is there. */
class Held<T> {
  readonly #held = new Map<VtdTables, { readonly value: T; users: number }>();
  readonly #make: (tables: VtdTables) => T;
  readonly #free: (tables: VtdTables, value: T) => void;

  constructor(make: (tables: VtdTables) => T, free: (tables: VtdTables, value: T) => void) {
    this.#make = make;
    this.#free = free;
  }

  /** What the unit has for it; undefined when nothing of the domain is there. */
  get(tables: VtdTables): T | undefined {
    return this.#held.get(tables)?.value;
  }

  entries(): [VtdTables, T][] {
    return [...this.#held].map(([tables, { value }]) => [tables, value]);
  }

  take(tables: VtdTables): T {
    const held = this.#held.get(tables);
    if (held) {
      held.users++;
      return held.value;
    }
    const value = this.#make(tables);
    this.#held.set(tables, { value, users: 1 });
    return value;
  }

  give(tables: VtdTables): void {
    const held = this.#held.get(tables);
    if (!held || --held.users > 0) return;
    this.#held.delete(tables);
    this.#free(tables, held.value);
  }
}

type DomainIds = Held<number>;

/**
 * A page table in the Intel IOMMUs of a host (struct dmar_domain): the mappings of an address space, or a guest's table
 * over such a one. In each unit it has a domain-id from its first place on until its last is left
 * (intel/iommu.c:domain_attach_iommu).
 */
export class VtdDomain implements ProposedDomain {
  readonly #units: TablesBySegment;
  readonly #ids: DomainIds;
  /** Pointers that stand for the second level in PASID table entries. */
  readonly #pointers: Held<bigint>;
  readonly #level: SecondLevel;
  readonly #first: (() => FirstStage) | undefined;
  readonly #places = new Set<VtdPlace>();

  private constructor(
    units: TablesBySegment,
    ids: DomainIds | undefined,
    level: SecondLevel,
    pointers: Held<bigint> | undefined,
    first: (() => FirstStage) | undefined,
  ) {
    this.#units = units;
    this.#ids =
      ids ??
      new Held(
        (tables) => tables.newDomain(),
        (tables, id) => tables.freeDomain(id),
      );
    this.#level = level;
    this.#pointers =
      pointers ??
      new Held(
        ({ unit }) => unit.addSecondLevel(level),
        ({ unit }, pointer) => unit.forgetSecondLevel(pointer),
      );
    this.#first = first;
  }

  /** Over the mappings of an address space. */
  static over(units: TablesBySegment, mappings: Mappings, stage: Stage): VtdDomain {
    return new VtdDomain(units, undefined, new MappingsLevel(mappings, stage), undefined, undefined);
  }

  /**
   * A guest's table over this domain's mappings.
   * @param first asked at each attach; may throw EINVAL for what the IOMMU cannot walk
   * @param ids "own" as iommufd's nested page tables have them (intel/nested.c), "shared" as the proposals had it: then
   * an invalidation of the domain reaches everything that is nested on it
   */
  nested(first: () => FirstStage, ids: "own" | "shared"): VtdDomain {
    return new VtdDomain(this.#units, ids === "shared" ? this.#ids : undefined, this.#level, this.#pointers, first);
  }

  beside(mappings: Mappings, stage: Stage): VtdDomain {
    return new VtdDomain(this.#units, this.#ids, new MappingsLevel(mappings, stage), undefined, undefined);
  }

  idFor(identity: RequesterIdentity): number | undefined {
    return this.#ids.get(this.#units.of(identity));
  }

  get isEntered(): boolean {
    return this.#ids.entries().length > 0;
  }

  attach(requester: Requester, pasid: number, ask?: AskForPage): Place {
    const tables = this.#units.of(requester.identity);
    const first = this.#first?.();
    const end = this.reserve(requester);
    try {
      tables.enter(requester, pasid, this.#entry(tables, first), this);
    } catch (error) {
      end();
      throw error;
    }
    const place = new VtdPlace(requester, tables.unit, pasid, ask, () => {
      this.#places.delete(place);
      tables.leave(requester, pasid, this);
      end();
    });
    this.#places.add(place);
    return place;
  }

  attachTable(requester: Requester, { directory, bits }: GuestPasidTable): Place {
    const tables = this.#units.of(requester.identity);
    const end = this.reserve(requester);
    const domain = this.#ids.get(tables)!;
    try {
      const guest = { domain, secondLevel: this.#pointers.get(tables)! };
      tables.takeOver(requester, { tables: memoryThrough(this.#level), directory, bits, guest });
    } catch (error) {
      end();
      throw error;
    }
    return new VtdPlace(requester, tables.unit, undefined, undefined, () => {
      tables.giveBack(requester);
      tables.unit.submit(encodeDescriptor("pasidCache", { granularity: 0, domain }));
      tables.unit.submit(encodeDescriptor("iotlb", { granularity: 2, domain }));
      end();
    });
  }

  reserve(requester: Requester): () => void {
    const tables = this.#units.of(requester.identity);
    this.#ids.take(tables);
    this.#pointers.take(tables);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#pointers.give(tables);
      this.#ids.give(tables);
    };
  }

  /**
   * In the block of a power of two that covers the range (cache.c:cache_tag_flush_range,
   * calculate_psi_aligned_address).
   */
  flushRange(start: bigint, last: bigint, isLeaf: boolean): void {
    const from = (start >> PAGE_SHIFT) << PAGE_SHIFT;
    const bits = (from ^ last) === 0n ? 0 : (from ^ last).toString(2).length;
    if (bits >= ADDRESS_BITS) {
      this.flush();
      return;
    }
    const order = Math.max(0, bits - PAGE_SHIFT_BITS);
    const page = ((from >> PAGE_SHIFT) >> BigInt(order)) << BigInt(order);
    // the zero bit below `order` says how many pages; see sizedRange() of the unit
    const sized = order === 0 ? page : page | ((1n << BigInt(order - 1)) - 1n);
    this.#eachPlace(({ unit, pasid, requester }, domain) => {
      const range = { granularity: 3, domain, pasid: pasid!, addressMask: order, address: page };
      unit.submit(encodeDescriptor("pasidIotlb", { ...range, leafHint: isLeaf ? 1 : 0 }));
      const { ats, source: sourceId } = requester.identity;
      const size = order === 0 ? 0 : 1;
      if (ats) unit.submit(encodeDescriptor("pasidDeviceTlb", { sourceId, pasid: pasid!, size, address: sized }));
    });
  }

  flush(): void {
    this.#eachPlace(({ unit, pasid, requester }, domain) => {
      unit.submit(encodeDescriptor("pasidIotlb", { granularity: 2, domain, pasid: pasid! }));
      const { ats, source: sourceId } = requester.identity;
      if (ats)
        unit.submit(
          encodeDescriptor("pasidDeviceTlb", { sourceId, pasid: pasid!, size: 1, address: WHOLE_DEVICE_TLB }),
        );
    });
  }

  flushIds(): void {
    for (const [{ unit }, domain] of this.#ids.entries())
      unit.submit(encodeDescriptor("iotlb", { granularity: 2, domain }));
  }

  #eachPlace(each: (place: VtdPlace, domain: number) => void): void {
    for (const place of this.#places) each(place, this.#ids.get(this.#units.of(place.requester.identity))!);
  }

  #entry(tables: VtdTables, first: FirstStage | undefined): PasidEntry {
    const common = { domain: this.#ids.get(tables)!, secondLevel: this.#pointers.get(tables)! };
    if (!first) return { ...common, type: "second", firstLevel: undefined, supervisor: false, execute: false };
    const { table, supervisor, execute } = first;
    return { ...common, type: "nested", firstLevel: table, supervisor, execute };
  }
}

const PAGE_SHIFT = 12n;
const ADDRESS_BITS = 64;
const PAGE_SHIFT_BITS = 12;

class VtdPlace implements Place {
  readonly requester: Requester;
  readonly unit: VtdTables["unit"];
  /** Undefined where the request's own number is looked up. */
  readonly pasid: number | undefined;
  readonly #ask: AskForPage | undefined;
  #leave: (() => void) | undefined;

  constructor(
    requester: Requester,
    unit: VtdTables["unit"],
    pasid: number | undefined,
    ask: AskForPage | undefined,
    leave: () => void,
  ) {
    this.requester = requester;
    this.unit = unit;
    this.pasid = pasid;
    this.#ask = ask;
    this.#leave = leave;
  }

  reach({ pasid: asked, privileged, ats }: PasidRequest): DmaTarget {
    const { identity } = this.requester;
    const pasid = this.pasid ?? asked;
    const what = pasid === NO_PASID ? "without PASID" : `PASID ${asked}`;
    const options = { privileged, ats: ats && identity.ats };
    return new PasidTarget(this.unit, { source: identity.source, pasid, what }, options, this.#ask);
  }

  leave(): void {
    const leave = this.#leave;
    this.#leave = undefined;
    leave?.();
  }
}
