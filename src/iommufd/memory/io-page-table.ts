import { ALL_ADDRESSES, holesIn, type IovaRange } from "../../address/iova-ranges.ts";
import { SpanMap } from "../../address/span-map.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import { fail, hex, hexRange } from "../../kernel/errors.ts";
import type { Area } from "./area.ts";

/** IOVAs that an attached device or page table takes away (struct iopt_reserved). */
export interface Reserved extends IovaRange {
  /** Who took them: they come back together. */
  readonly owner: object;
  /** For messages: "the reserved range 0xfee00000-0xfeefffff (msi) of 0000:00:04.0 (group 2)". */
  readonly label: string;
}

/** A page table that follows the mappings (struct iommu_domain). */
export interface Domain {
  readonly unit: IommuUnit;
}

/** The mappings of an address space and what limits them (struct io_pagetable). Addresses in bytes. */
export class IoPageTable {
  readonly pageSize: bigint;
  readonly areas = new SpanMap<Area>();
  /** Where the kernel may choose; everywhere when empty. In order. */
  allowed: readonly IovaRange[] = [];
  readonly reserved: Reserved[] = [];
  readonly domains: Domain[] = [];
  /** What addresses and lengths must be a multiple of: 1 until something is attached. */
  alignment = 1n;
  largePagesDisabled = false;
  readonly #accesses = new Set<object>();

  /** @param pageSize the host's, bytes */
  constructor(pageSize: number) {
    this.pageSize = BigInt(pageSize);
  }

  /** What is not reserved, in order. */
  usableRanges(): IovaRange[] {
    return holesIn(ALL_ADDRESSES, this.reserved);
  }

  /** Takes IOVAs away; EADDRINUSE when they are mapped or promised (io_pagetable.c:iopt_reserve_iova). */
  reserve(range: Reserved): void {
    const area = this.areas.meeting(range.start, range.last);
    if (area) fail("EADDRINUSE", `${area.label} overlaps ${range.label}; unmap it first`);
    const promise = this.allowed.find(({ start, last }) => start <= range.last && last >= range.start);
    if (promise) {
      const text = hexRange(promise.start, promise.last);
      fail("EADDRINUSE", `${text} was promised by IOMMU_IOAS_ALLOW_IOVAS and overlaps ${range.label}`);
    }
    this.reserved.push(range);
  }

  unreserve(owner: object): void {
    for (let i = this.reserved.length - 1; i >= 0; i--)
      if (this.reserved[i]!.owner === owner) this.reserved.splice(i, 1);
  }

  /** IOMMU_IOAS_ALLOW_IOVAS: all of the ranges or none (io_pagetable.c:iopt_set_allow_iova). */
  allow(ranges: readonly IovaRange[]): void {
    for (const { start, last } of ranges) {
      const taken = this.reservedIn(start, last);
      if (taken) fail("EADDRINUSE", `${hexRange(start, last)} cannot be promised: it overlaps ${taken.label}`);
    }
    this.allowed = ranges;
  }

  reservedIn(start: bigint, last: bigint): Reserved | undefined {
    return this.reserved.find((range) => range.start <= last && range.last >= start);
  }

  /** A page table joins: all mappings go into it, or nothing has changed (io_pagetable.c:iopt_table_add_domain). */
  addDomain(domain: Domain): void {
    const { unit } = domain;
    const smallest = unit.pageSizes & -unit.pageSizes;
    const alignment = smallest > this.alignment ? smallest : this.alignment;
    if (alignment > this.pageSize) {
      fail("EINVAL", `${unit.label} has no pages as small as the kernel's, ${hex(this.pageSize)} bytes`);
    }
    if (alignment !== this.alignment) this.#checkAlignment(alignment);
    try {
      this.#reserveOutside(domain);
      for (const area of this.areas) refuseNoAccess(area, domain);
      if (this.domains.length === 0) this.#fill();
    } catch (error) {
      this.unreserve(domain);
      throw error;
    }
    this.alignment = alignment;
    this.domains.push(domain);
  }

  removeDomain(domain: Domain): void {
    const index = this.domains.indexOf(domain);
    if (index < 0) return;
    this.domains.splice(index, 1);
    if (this.domains.length === 0) for (const area of this.areas) area.unfill();
    this.unreserve(domain);
    this.alignment = this.#neededAlignment();
  }

  /** Pages are no longer combined, so that mappings can be split (io_pagetable.c:iopt_disable_large_pages). */
  disableLargePages(): void {
    if (this.largePagesDisabled) return;
    if (this.domains.length > 0 && this.areas.size > 0) {
      fail("EINVAL", "mappings are in page tables already, perhaps as large pages; unmap them first");
    }
    if (this.pageSize > this.alignment) this.#checkAlignment(this.pageSize);
    this.largePagesDisabled = true;
    this.alignment = this.#neededAlignment();
  }

  enableLargePages(): void {
    this.largePagesDisabled = false;
    this.alignment = this.#neededAlignment();
  }

  /** The last user is gone. */
  clear(): void {
    for (const area of this.areas) area.unfill();
    this.areas.clear();
  }

  /** Somebody reads mappings page by page without a page table (a mediated device's driver); io_pagetable.c:iopt_add_access. */
  addAccess(access: object): void {
    if (this.pageSize > this.alignment) this.#checkAlignment(this.pageSize);
    this.#accesses.add(access);
    this.alignment = this.#neededAlignment();
  }

  removeAccess(access: object): void {
    this.#accesses.delete(access);
    this.alignment = this.#neededAlignment();
  }

  #neededAlignment(): bigint {
    let needed = this.largePagesDisabled || this.#accesses.size > 0 ? this.pageSize : 1n;
    for (const { unit } of this.domains) {
      const smallest = unit.pageSizes & -unit.pageSizes;
      if (smallest > needed) needed = smallest;
    }
    return needed;
  }

  #checkAlignment(alignment: bigint): void {
    const mask = alignment - 1n;
    for (const area of this.areas) {
      if ((area.start | area.length | area.pageOffset) & mask) {
        fail("EADDRINUSE", `${area.label} is not made of whole pages of ${hex(alignment)} bytes; unmap it first`);
      }
    }
  }

  #reserveOutside(domain: Domain): void {
    const { apertureStart, apertureLast, label } = domain.unit;
    const owner = domain;
    const outside = `what lies outside the aperture ${hexRange(apertureStart, apertureLast)} of ${label}`;
    if (apertureStart !== 0n) this.reserve({ start: 0n, last: apertureStart - 1n, owner, label: outside });
    if (apertureLast !== ALL_ADDRESSES.last) {
      this.reserve({ start: apertureLast + 1n, last: ALL_ADDRESSES.last, owner, label: outside });
    }
  }

  #fill(): void {
    const filled: Area[] = [];
    try {
      for (const area of this.areas) {
        area.fill();
        filled.push(area);
      }
    } catch (error) {
      for (const area of filled) area.unfill();
      throw error;
    }
  }
}

/**
 * A VFIO program may map memory for neither reading nor writing (vfio_compat.c). Only virtio-iommu's driver takes that; page tables in memory
 * cannot say it (generic_pt/iommu_pt.h, io-pgtable-arm.c).
 */
export function refuseNoAccess(area: Area, { unit }: Domain): void {
  if (area.readable || area.writeable || unit.driver === "virtio-iommu") return;
  fail("EINVAL", `${area.label} is for neither reading nor writing, which ${unit.label} cannot express`);
}
