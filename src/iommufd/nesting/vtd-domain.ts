import { ALL_ADDRESSES, type HostPasidTables } from "../../iommu/vtd/host-tables.ts";
import type { PasidEntry } from "../../iommu/vtd/pasid-entry.ts";
import { encodeDescriptor } from "../../uapi/intel-invalidation.ts";
import type { PageTable } from "../devices/page-table.ts";
import { IoasLevel } from "./ioas-level.ts";
import { NestedHwpt } from "./nested-hwpt.ts";

/** Where a page table is entered. */
interface Place {
  readonly source: number;
  readonly pasid: number;
  /** The device caches translations itself. */
  readonly ats: boolean;
}

const PAGE_SHIFT = 12n;
const ADDRESS_BITS = 64;
const PAGE_SHIFT_BITS = 12;

/** A page table's side in an IOMMU with PASIDs (struct dmar_domain): its domain-id, and where it is entered. */
export class VtdDomain {
  readonly #tables: HostPasidTables;
  readonly #pageTable: PageTable;
  readonly #id: number;
  /** Stands for the address space in PASID table entries: no table of the hardware's, so the address only has to be its own. */
  readonly #pointer: bigint;
  readonly #places: Place[] = [];

  private constructor(tables: HostPasidTables, pageTable: PageTable) {
    this.#tables = tables;
    this.#pageTable = pageTable;
    this.#id = tables.newDomain();
    if (pageTable instanceof NestedHwpt) {
      this.#pointer = VtdDomain.of(tables, pageTable.paging).#pointer;
      return;
    }
    this.#pointer = (1n << 51n) | (BigInt(this.#id) << PAGE_SHIFT);
    tables.unit.registerSecondLevel(this.#pointer, new IoasLevel(pageTable.paging));
  }

  /** Of a page table; made when it has none. */
  static of(tables: HostPasidTables, pageTable: PageTable): VtdDomain {
    pageTable.vtd ??= new VtdDomain(tables, pageTable);
    return pageTable.vtd;
  }

  /** Enters it for a PASID of a device. EINVAL for a guest's table that the IOMMU cannot walk. */
  enter(place: Place): void {
    this.#tables.set(place.source, place.pasid, this.#entry());
    this.#places.push(place);
  }

  /** Takes it out again, with what is cached (pasid.c:intel_pasid_tear_down_entry). */
  leave(source: number, pasid: number): void {
    const index = this.#places.findIndex((place) => place.source === source && place.pasid === pasid);
    if (index < 0) return;
    this.#places.splice(index, 1);
    this.#tables.clear(source, pasid, this.#id);
  }

  /**
   * Forgets translations of a range, in the block of a power of two that covers it (cache.c:cache_tag_flush_range,
   * calculate_psi_aligned_address). Both ends in bytes, modulo 2^64.
   * @param isLeaf only last-level entries have changed
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
    const { unit } = this.#tables;
    // the zero bit below `order` says how many pages; see sizedRange() of the unit
    const sized = order === 0 ? page : page | ((1n << BigInt(order - 1)) - 1n);
    for (const { source, pasid, ats } of this.#places) {
      const range = { granularity: 3, domain: this.#id, pasid, addressMask: order, address: page };
      unit.submit(encodeDescriptor("pasidIotlb", { ...range, leafHint: isLeaf ? 1 : 0 }));
      if (!ats) continue;
      const size = order === 0 ? 0 : 1;
      unit.submit(encodeDescriptor("pasidDeviceTlb", { sourceId: source, pasid, size, address: sized }));
    }
  }

  /** Forgets all translations. */
  flush(): void {
    const { unit } = this.#tables;
    for (const { source, pasid, ats } of this.#places) {
      unit.submit(encodeDescriptor("pasidIotlb", { granularity: 2, domain: this.#id, pasid }));
      if (!ats) continue;
      unit.submit(encodeDescriptor("pasidDeviceTlb", { sourceId: source, pasid, size: 1, address: ALL_ADDRESSES }));
    }
  }

  /** The page table goes; it is entered nowhere any more. */
  free(): void {
    if (!(this.#pageTable instanceof NestedHwpt)) this.#tables.unit.forgetSecondLevel(this.#pointer);
    this.#tables.freeDomain(this.#id);
  }

  #entry(): PasidEntry {
    const common = { domain: this.#id, secondLevel: this.#pointer, execute: false };
    const table = this.#pageTable;
    if (!(table instanceof NestedHwpt)) {
      return { ...common, type: "second", firstLevel: undefined, supervisor: false };
    }
    return { ...common, type: "nested", firstLevel: table.table, supervisor: table.stage1.supervisor };
  }
}
