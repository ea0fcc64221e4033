import type { IovaRangeList } from "../../address/iova-ranges.ts";
import { addressToPage, PAGE_SIZE } from "../../address/pages.ts";
import type { DmaGroup } from "../../iommu/dma-group.ts";
import { binds, groupLabel, type ReservedRegion } from "../../iommu/group.ts";
import { canShareDomain } from "../../iommu/share-domain.ts";
import { type IommuUnit, smallestPage } from "../../iommu/unit.ts";
import { fail, hex, hexRange } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { ERRNO } from "../../uapi/errno.ts";
import type { AttachedGroup, Type1Domain, Type1Iommu } from "./iommu.ts";
import { MAP_PINNED } from "./mapping-table.ts";
import { excludeReserved, narrowTo, refresh, widenTo } from "./valid-ranges.ts";

/**
 * Takes a group into the container: checks in the order of vfio_iommu_type1.c:vfio_iommu_type1_attach_group. When it
 * throws nothing has changed.
 */
export function attachGroup(iommu: Type1Iommu, task: Task, group: DmaGroup): void {
  if (iommu.vaddrInvalidCount > 0) {
    fail(
      "EBUSY",
      `mappings wait for their new vaddr (VFIO_DMA_MAP_FLAG_VADDR; ${iommu.vaddrInvalidCount} in number); an attach could have to pin them`,
    );
  }
  if (isAttached(iommu, group)) fail("EINVAL", `${group.label} is in the container already`);
  const { iommuGroup } = group;
  if (!iommuGroup.unit) {
    // nothing translates a mediated device, and all that it can dirty are pages that its driver pins
    iommu.emulatedGroups.push({ group, pinnedPageDirtyScope: true });
    return;
  }
  const { unit, reservedRegions } = iommuGroup;
  refuseNesting(iommu, group, unit);
  refuseDirectRegions(group, unit);
  const { release } = iommu.context;
  if (release.has("validIovaEnforced")) {
    refuseAperture(iommu, group, unit);
    refuseReserved(iommu, group, reservedRegions);
  }
  const ranges = narrowTo(iommu.validRanges.ranges, { start: unit.apertureStart, last: unit.apertureLast });
  const valid = excludeReserved(ranges, reservedRegions);
  if (!valid)
    fail("EINVAL", `no IOVA would be left: the reserved regions of ${groupLabel(iommuGroup)} cover all valid ranges`);
  if (!unit.isolatedMsi && !iommu.context.booleanParameter("vfio_iommu_type1/allow_unsafe_interrupts")) {
    fail(
      "EPERM",
      `${unit.label} does not remap interrupts, so ${groupLabel(iommuGroup)} could fake them; set vfio_iommu_type1.allow_unsafe_interrupts=1 to accept that`,
    );
  }
  const attached: AttachedGroup = { group, pinnedPageDirtyScope: false };
  const domain = iommu.domains.find((existing) => canShareDomain(existing.unit, unit));
  if (domain) {
    domain.groups.push(attached);
  } else {
    refuseMapped(iommu, unit);
    if (iommu.domains.length === 0) pinAll(iommu, task);
    iommu.domains.unshift({ unit, groups: [attached] });
    iommu.updatePageSizes();
  }
  setRanges(iommu, valid);
  iommu.nonPinnedGroups++;
}

/** Lets a group go: vfio_iommu_type1.c:vfio_iommu_type1_detach_group. */
export function detachGroup(iommu: Type1Iommu, group: DmaGroup): void {
  const emulated = iommu.emulatedGroups.findIndex((attached) => attached.group === group);
  if (emulated >= 0) {
    const [left] = iommu.emulatedGroups.splice(emulated, 1);
    if (iommu.emulatedGroups.length === 0 && iommu.domains.length === 0) iommu.removeAllMappings();
    leaveDirtyScope(iommu, left!);
    return;
  }
  for (const domain of iommu.domains) {
    const index = domain.groups.findIndex((attached) => attached.group === group);
    if (index < 0) continue;
    const [left] = domain.groups.splice(index, 1);
    const ranges = domain.groups.length === 0 ? removeDomain(iommu, domain) : iommu.validRanges.ranges;
    const widened = refresh(ranges, remainingRegions(iommu));
    if (widened) setRanges(iommu, widened);
    leaveDirtyScope(iommu, left!);
    return;
  }
}

function isAttached(iommu: Type1Iommu, group: DmaGroup): boolean {
  const same = (attached: AttachedGroup) => attached.group === group;
  return iommu.emulatedGroups.some(same) || iommu.domains.some((domain) => domain.groups.some(same));
}

function refuseNesting(iommu: Type1Iommu, group: DmaGroup, unit: IommuUnit): void {
  if (iommu.nesting)
    fail(unit.nesting, `${unit.label} of ${group.label} cannot nest translations (VFIO_TYPE1_NESTING_IOMMU)`);
}

/**
 * A device that firmware uses stays in its domain (intel/iommu.c:intel_iommu_attach_device; RMRRs that may be relaxed
 * do not count).
 */
function refuseDirectRegions(group: DmaGroup, unit: IommuUnit): void {
  if (!unit.refusesDirectRegions) return;
  const direct = group.iommuGroup.reservedRegions.find(({ type }) => type === "direct");
  if (!direct) return;
  fail(
    "EPERM",
    `firmware uses ${hexRange(direct.start, direct.last)} through ${groupLabel(group.iommuGroup)} (an RMRR, reserved region of type direct), so its devices cannot be given to user space ("Device is ineligible for IOMMU domain attach due to platform RMRR requirement")`,
  );
}

/**
 * A new domain gets all that is mapped (vfio_iommu_type1.c:vfio_iommu_replay): in order, each must be a multiple of its
 * smallest page (iommu.c:iommu_map, EINVAL) and lie where its tables reach (the driver).
 */
function refuseMapped(iommu: Type1Iommu, unit: IommuUnit): void {
  const { byIova } = iommu.mappings;
  const smallest = Number(smallestPage(unit)) / PAGE_SIZE;
  const end = unit.beyondAperture === undefined ? Number.POSITIVE_INFINITY : addressToPage(unit.apertureLast) + 1;
  if (smallest <= 1 && end === Number.POSITIVE_INFINITY) return;
  for (let more = byIova.first(); more; more = byIova.next()) {
    const { start, pages } = byIova;
    if (start % smallest !== 0 || pages % smallest !== 0)
      fail(
        "EINVAL",
        `${iommu.describeHere()} is no multiple of ${hex(smallestPage(unit))}, the smallest page of ${unit.label}; unmap it first`,
      );
    if (start + pages > end)
      fail(unit.beyondAperture!, `${iommu.describeHere()} lies beyond what ${unit.label} translates; unmap it first`);
  }
}

/**
 * The new aperture must share something with the valid ranges and hold all that is mapped (vfio_iommu_aper_conflict).
 */
function refuseAperture(iommu: Type1Iommu, group: DmaGroup, unit: IommuUnit): void {
  const { ranges } = iommu.validRanges;
  if (ranges.length === 0) return;
  const first = ranges[0]!;
  const final = ranges[ranges.length - 1]!;
  const aperture = `${hexRange(unit.apertureStart, unit.apertureLast)} (${unit.label} of ${group.label})`;
  if (unit.apertureStart > final.last || unit.apertureLast < first.start) {
    fail("EINVAL", `the aperture ${aperture} and the valid IOVA ranges have nothing in common`);
  }
  const below = unit.apertureStart > first.start && isMapped(iommu, first.start, unit.apertureStart - 1n);
  const above = !below && unit.apertureLast < final.last && isMapped(iommu, unit.apertureLast + 1n, final.last);
  if (below || above) fail("EINVAL", `${iommu.describeHere()} lies outside the aperture ${aperture}; unmap it first`);
}

function refuseReserved(iommu: Type1Iommu, group: DmaGroup, regions: readonly ReservedRegion[]): void {
  for (const region of regions) {
    if (!binds(region) || !isMapped(iommu, region.start, region.last)) continue;
    fail(
      "EINVAL",
      `${iommu.describeHere()} overlaps the reserved range ${hexRange(region.start, region.last)} (${region.type}) of ${groupLabel(group.iommuGroup)}; unmap it first`,
    );
  }
}

function isMapped(iommu: Type1Iommu, start: bigint, last: bigint): boolean {
  const firstPage = addressToPage(start);
  return iommu.mappings.byIova.overlaps(firstPage, addressToPage(last) - firstPage + 1);
}

/**
 * The first IOMMU comes to mappings that so far only mediated devices used: all of them are pinned, or none
 * (vfio_iommu_replay).
 */
function pinAll(iommu: Type1Iommu, task: Task): void {
  const { byIova } = iommu.mappings;
  for (let more = byIova.first(); more; more = byIova.next()) {
    const { start, pages, value: slot } = byIova;
    const result = iommu.pinMapping(slot, pages, iommu.lockBudget(slot, task.memlockLimit()));
    if (result >= 0) continue;
    const which = iommu.describeHere();
    for (let undo = byIova.first(); undo && byIova.start < start; undo = byIova.next())
      iommu.unpinMapping(byIova.value);
    if (result === -ERRNO.ENOMEM)
      fail("ENOMEM", `RLIMIT_MEMLOCK (${task.memlockLimit()} bytes) does not allow to pin ${which}`);
    fail(
      "EFAULT",
      `the memory behind ${which} cannot be pinned: it was not looked at while only mediated devices were here`,
    );
  }
}

function removeDomain(iommu: Type1Iommu, domain: Type1Domain) {
  if (iommu.domains.length === 1) {
    if (iommu.emulatedGroups.length === 0) iommu.removeAllMappings();
    else unpinAll(iommu);
  }
  iommu.domains.splice(iommu.domains.indexOf(domain), 1);
  iommu.updatePageSizes();
  const apertures = iommu.domains.map(({ unit }) => ({ start: unit.apertureStart, last: unit.apertureLast }));
  return widenTo(iommu.validRanges.ranges, apertures);
}

/** The last IOMMU goes, mediated devices stay: mappings stay too, only what those devices pinned remains held. */
function unpinAll(iommu: Type1Iommu): void {
  const { mappings } = iommu;
  const { byIova } = mappings;
  for (let more = byIova.first(); more; more = byIova.next()) {
    if (mappings.flagsOf(byIova.value) & MAP_PINNED) iommu.unpinMapping(byIova.value);
  }
}

function remainingRegions(iommu: Type1Iommu): ReservedRegion[] {
  return iommu.domains.flatMap(({ groups }) => groups.flatMap(({ group }) => group.iommuGroup.reservedRegions));
}

function setRanges(iommu: Type1Iommu, ranges: IovaRangeList): void {
  if (iommu.context.release.has("validIovaEnforced")) iommu.validRanges = ranges;
}

/** When the last group that dirties at will has gone, all that it may have dirtied is marked once more. */
function leaveDirtyScope(iommu: Type1Iommu, left: AttachedGroup): void {
  if (left.pinnedPageDirtyScope) return;
  iommu.nonPinnedGroups--;
  for (const bitmap of iommu.mappings.dirty.values()) bitmap.set(0, bitmap.bits);
}
