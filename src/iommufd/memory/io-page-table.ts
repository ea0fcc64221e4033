import { ALL_ADDRESSES, holesIn, type IovaRange } from "../../address/iova-ranges.ts";
import { RangeTable } from "../../address/range-table.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import { fail, hex, hexRange } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import type { SpaceListener, SpaceMapping } from "../../vfio/space-view.ts";
import type { Area } from "./area.ts";
import { AreaTable, type FlatArea } from "./area-table.ts";
import type { PinAccount } from "./pin-account.ts";

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
  /** Whether it wants to hear of entries that go. */
  readonly listens: boolean;
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
  readonly areas: AreaTable;
  /** Where the kernel may choose; everywhere when empty. */
  allowed = RangeTable.EMPTY;
  readonly reserved: Reserved[] = [];
  readonly domains: Domain[] = [];
  /** Who looks on. */
  readonly lookers = new Set<SpaceListener>();
  largePagesDisabled = false;
  readonly #accesses = new Set<DriverAccess>();
  #alignment = 1n;
  /** The low bits that addresses and lengths must not have. */
  #mask = 0;
  /** First and last bytes of what is reserved, one behind the other, as far as numbers have them. */
  #reservedBytes = new Float64Array();

  /** @param pageSize the host's, bytes */
  constructor(pageSize: number) {
    this.pageSize = BigInt(pageSize);
    this.areas = new AreaTable(pageSize);
  }

  /** What addresses and lengths must be a multiple of: 1 until something is attached. */
  get alignment(): bigint {
    return this.#alignment;
  }

  /** The same as the low bits that they must not have. */
  get mask(): number {
    return this.#mask;
  }

  /** A mapping of memory that no other shows is made. The caller has checked that it can be. */
  addFlat(area: FlatArea, account: PinAccount, pin: number | undefined): void {
    this.areas.addFlat(area, account, pin);
    if (this.lookers.size === 0) return;
    const { start, length, readable: read, writeable: write } = area;
    const mapping = { start: BigInt(start), last: BigInt(start + length - 1), read, write };
    for (const looker of this.lookers) looker.mapped(mapping);
  }

  /**
   * Mappings of such memory go, from the first in a range on, up to one of another kind or across its end.
   * @param start below 2^53, as `last` is
   * @param most how many
   * @returns how many bytes
   */
  removeFlat(start: number, last: number, most: number): number {
    const listens = this.lookers.size > 0 || this.domains.some((domain) => domain.listens);
    return this.areas.removeFlat(start, last, most, listens ? this.#tellRemoved : undefined);
  }

  readonly #tellRemoved = (start: number, length: number): void => {
    this.#removed(BigInt(start), BigInt(start + length - 1));
  };

  #removed(start: bigint, last: bigint): void {
    for (const looker of this.lookers) looker.unmapped({ start, last });
    for (const domain of this.domains) domain.unmapped(start, last);
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
    this.#removed(area.start, area.last);
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
    this.#countReserved();
  }

  unreserve(owner: object): void {
    for (let i = this.reserved.length - 1; i >= 0; i--)
      if (this.reserved[i]!.owner === owner) this.reserved.splice(i, 1);
    this.#countReserved();
  }

  #countReserved(): void {
    this.#reservedBytes = Float64Array.from(this.reserved.flatMap(({ start, last }) => [Number(start), Number(last)]));
  }

  /** Whether any of [start, start + length) is reserved. Bytes below 2^53. */
  isReserved(start: number, length: number): boolean {
    const bytes = this.#reservedBytes;
    for (let i = 0; i < bytes.length; i += 2) {
      if (bytes[i]! < start + length && bytes[i + 1]! >= start) return true;
    }
    return false;
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
    const alignment = smallest > this.#alignment ? smallest : this.#alignment;
    if (alignment > this.pageSize) {
      fail("EINVAL", `${unit.label} has no pages as small as the kernel's, ${hex(this.pageSize)} bytes`);
    }
    if (alignment !== this.#alignment) this.#checkAlignment(alignment);
    try {
      this.#reserveOutside(domain);
      for (const area of this.areas) refuseArea(area, domain);
      if (this.domains.length === 0) this.#fill();
    } catch (error) {
      this.unreserve(domain);
      throw error;
    }
    this.domains.push(domain);
    this.#align();
  }

  removeDomain(domain: Domain): void {
    const index = this.domains.indexOf(domain);
    if (index < 0) return;
    this.domains.splice(index, 1);
    if (this.domains.length === 0) for (const area of this.areas) area.unfill();
    this.unreserve(domain);
    this.#align();
  }

  /** Pages are no longer combined, so that mappings can be split (io_pagetable.c:iopt_disable_large_pages). */
  disableLargePages(): void {
    if (this.largePagesDisabled) return;
    if (this.domains.length > 0 && this.areas.size > 0) {
      fail("EINVAL", "mappings are in page tables already, perhaps as large pages; unmap them first");
    }
    if (this.pageSize > this.#alignment) this.#checkAlignment(this.pageSize);
    this.largePagesDisabled = true;
    this.#align();
  }

  enableLargePages(): void {
    this.largePagesDisabled = false;
    this.#align();
  }

  /** The last user is gone. */
  clear(): void {
    for (const area of this.areas.kept()) {
      area.unfill();
      area.pages.put();
    }
    this.areas.clear();
    for (const looker of this.lookers) looker.unmapped(ALL_ADDRESSES);
  }

  /** EADDRINUSE for mappings of part pages (io_pagetable.c:iopt_add_access). */
  addAccess(access: DriverAccess): void {
    faultPoint("failslab");
    if (access.alignment > this.#alignment) this.#checkAlignment(access.alignment);
    this.#accesses.add(access);
    this.#align();
  }

  removeAccess(access: DriverAccess): void {
    this.#accesses.delete(access);
    this.#align();
  }

  #align(): void {
    this.#alignment = this.#neededAlignment();
    this.#mask = Number(this.#alignment) - 1;
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
      if ((area.start | area.length | area.offsetIn(this.pageSize)) & mask) {
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
    let filled = 0;
    try {
      for (const area of this.areas) {
        area.fill();
        filled++;
      }
    } catch (error) {
      for (const area of this.areas) {
        if (filled-- === 0) break;
        area.unfill();
      }
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
  if (!area.writeable && wantsWriteable({ unit, isParent })) {
    fail("EINVAL", `${area.label} is read-only, which a page table that others are nested on cannot have`);
  }
  if (area.readable || area.writeable || unit.mapsNoAccess) return;
  fail("EINVAL", `${area.label} is for neither reading nor writing, which ${unit.label} cannot express`);
}

/** generic_pt/fmt/vtdss.h: PT_FEAT_VTDSS_FORCE_WRITEABLE, because of erratum 772415 */
export function wantsWriteable({ unit, isParent }: Pick<Domain, "unit" | "isParent">): boolean {
  return isParent && unit.iommufd.parentsAreWriteable === true;
}

/** A mapping, for who looks on. */
export function mappingOf({ start, last, readable, writeable }: Area): SpaceMapping {
  return { start, last, read: readable, write: writeable };
}
