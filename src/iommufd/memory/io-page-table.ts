import { ALL_ADDRESSES, holesIn, type IovaRange } from "../../address/iova-ranges.ts";
import { RangeTable } from "../../address/range-table.ts";
import { SpanMap } from "../../address/span-map.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import { fail, hex, hexRange } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import type { SpaceListener, SpaceMapping } from "../../vfio/space-view.ts";
import type { Area } from "./area.ts";

/** IOVAs that an attached device or page table takes away (struct iopt_reserved). */
export interface Reserved extends IovaRange {
  /** Who took them: they come back together. */
  readonly owner: object;
  /** For messages: "the reserved range 0xfee00000-0xfeefffff (msi) of 0000:00:04.0 (group 2)". */
  readonly label: string;
  /** The same in two parts, for who looks on: "msi", and whose it is. */
  readonly what: string;
  readonly of: string;
}

/** A page table that follows the mappings (struct iommu_domain). */
export interface Domain {
  readonly unit: IommuUnit;
  /** Others can be nested on it. */
  readonly isParent: boolean;
  /** First byte of a page in it that the kernel has mapped for interrupt messages; undefined without. */
  readonly doorbellPage: bigint | undefined;
  /** Its entries for a mapping are gone. Inclusive bytes. */
  unmapped(start: bigint, last: bigint): void;
}

/** Who uses mappings page by page without a page table: a mediated device's driver (struct iommufd_access). */
export interface DriverAccess {
  /** What mappings must be a multiple of for it, bytes. */
  readonly alignment: bigint;
  /** A mapping is about to go: what is held of it must be given back before this returns. */
  unmap(iova: bigint, length: bigint): void;
}

/** The mappings of an address space and what limits them (struct io_pagetable). Addresses in bytes. */
export class IoPageTable {
  readonly pageSize: bigint;
  readonly areas = new SpanMap<Area>();
  /** Where the kernel may choose; everywhere when empty. */
  allowed = RangeTable.EMPTY;
  readonly reserved: Reserved[] = [];
  readonly domains: Domain[] = [];
  /** Who looks on. */
  readonly lookers = new Set<SpaceListener>();
  /** What addresses and lengths must be a multiple of: 1 until something is attached. */
  alignment = 1n;
  largePagesDisabled = false;
  readonly #accesses = new Set<DriverAccess>();

  /** @param pageSize the host's, bytes */
  constructor(pageSize: number) {
    this.pageSize = BigInt(pageSize);
  }

  /** A mapping is made. It keeps its memory. */
  add(area: Area): void {
    area.pages.get();
    this.areas.add(area);
    if (this.lookers.size > 0) for (const looker of this.lookers) looker.mapped(mappingOf(area));
  }

  /**
   * A mapping goes; drivers that hold pages of it hear so first, and give them back
   * (io_pagetable.c:iopt_unmap_iova_range).
   */
  remove(area: Area): void {
    if (area.accesses > 0) {
      area.isClosing = true;
      for (const access of this.#accesses) access.unmap(area.start, area.length);
      if (area.accesses > 0) throw new Error(`a driver keeps ${area.accesses} pages of ${area.label}, which goes`);
    }
    area.unfill();
    this.areas.delete(area);
    for (const looker of this.lookers) looker.unmapped(area);
    for (const domain of this.domains) domain.unmapped(area.start, area.last);
    area.pages.put();
  }

  /** A mapping becomes several over the same memory; page tables do not change. */
  split(area: Area, parts: readonly Area[]): void {
    this.areas.delete(area);
    for (const part of parts) this.add(part);
    area.pages.put();
  }

  /** What is not reserved, in order. */
  usableRanges(): IovaRange[] {
    return holesIn(ALL_ADDRESSES, this.reserved);
  }

  /** Takes IOVAs away; EADDRINUSE when they are mapped or promised (io_pagetable.c:iopt_reserve_iova). */
  reserve(range: Reserved): void {
    faultPoint("failslab");
    const area = this.areas.meeting(range.start, range.last);
    if (area) fail("EADDRINUSE", `${area.label} overlaps ${range.label}; unmap it first`);
    const promise = this.allowed.meeting(range.start, range.last);
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
  allow(ranges: RangeTable): void {
    for (const taken of this.reserved) {
      const range = ranges.meeting(taken.start, taken.last);
      if (range) {
        const text = hexRange(range.start, range.last);
        fail("EADDRINUSE", `${text} cannot be promised: it overlaps ${taken.label}`);
      }
    }
    this.allowed = ranges;
  }

  reservedIn(start: bigint, last: bigint): Reserved | undefined {
    return this.reserved.find((range) => range.start <= last && range.last >= start);
  }

  /** A page table joins: all mappings go into it, or nothing has changed (io_pagetable.c:iopt_table_add_domain). */
  addDomain(domain: Domain): void {
    faultPoint("failslab");
    const { unit } = domain;
    const smallest = unit.pageSizes & -unit.pageSizes;
    const alignment = smallest > this.alignment ? smallest : this.alignment;
    if (alignment > this.pageSize) {
      fail("EINVAL", `${unit.label} has no pages as small as the kernel's, ${hex(this.pageSize)} bytes`);
    }
    if (alignment !== this.alignment) this.#checkAlignment(alignment);
    try {
      this.#reserveOutside(domain);
      for (const area of this.areas) refuseArea(area, domain);
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
    for (const area of this.areas) {
      area.unfill();
      area.pages.put();
    }
    this.areas.clear();
    for (const looker of this.lookers) looker.unmapped(ALL_ADDRESSES);
  }

  /** EADDRINUSE for mappings of part pages (io_pagetable.c:iopt_add_access). */
  addAccess(access: DriverAccess): void {
    faultPoint("failslab");
    if (access.alignment > this.alignment) this.#checkAlignment(access.alignment);
    this.#accesses.add(access);
    this.alignment = this.#neededAlignment();
  }

  removeAccess(access: DriverAccess): void {
    this.#accesses.delete(access);
    this.alignment = this.#neededAlignment();
  }

  #neededAlignment(): bigint {
    let needed = this.largePagesDisabled ? this.pageSize : 1n;
    for (const { alignment } of this.#accesses) if (alignment > needed) needed = alignment;
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
    const outside = {
      owner,
      label: `what lies outside the aperture ${hexRange(apertureStart, apertureLast)} of ${label}`,
      what: "outside the aperture",
      of: label,
    };
    if (apertureStart !== 0n) this.reserve({ start: 0n, last: apertureStart - 1n, ...outside });
    if (apertureLast !== ALL_ADDRESSES.last) {
      this.reserve({ start: apertureLast + 1n, last: ALL_ADDRESSES.last, ...outside });
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
 * EINVAL for a mapping that a page table cannot have. A VFIO program may map memory for neither reading nor writing
 * (vfio_compat.c); only a driver without page tables in memory takes that: those cannot say it (generic_pt/iommu_pt.h,
 * io-pgtable-arm.c).
 */
export function refuseArea(area: Area, { unit, isParent, doorbellPage }: Domain): void {
  faultPoint("fail_page_alloc");
  if (doorbellPage !== undefined && area.start <= doorbellPage && doorbellPage <= area.last) {
    fail("EEXIST", `${area.label} covers ${hex(doorbellPage)}, where the kernel has mapped the doorbell of interrupts`);
  }
  if (unit.refusesLastByte && area.last === ALL_ADDRESSES.last) {
    fail(
      "EINVAL",
      `${area.label} ends with the last byte of the address space, which an iommufd cannot put into tables of ${unit.label}; leave out the last page`,
    );
  }
  // generic_pt/fmt/vtdss.h: PT_FEAT_VTDSS_FORCE_WRITEABLE, because of erratum 772415
  if (isParent && unit.iommufd.parentsAreWriteable && !area.writeable) {
    fail("EINVAL", `${area.label} is read-only, which a page table that others are nested on cannot have`);
  }
  if (area.readable || area.writeable || unit.mapsNoAccess) return;
  fail("EINVAL", `${area.label} is for neither reading nor writing, which ${unit.label} cannot express`);
}

/** A mapping, for who looks on. */
export function mappingOf({ start, last, readable, writeable }: Area): SpaceMapping {
  return { start, last, read: readable, write: writeable };
}
