import type { Release } from "../kernel/releases.ts";
import { bitsOfLast } from "./address-bits.ts";
import type { IommuDescription } from "./description.ts";
import { kindOf } from "./kinds.ts";
import type { IommuUnit } from "./unit.ts";

/** The IOMMU of a host as its kernel driver presents it; undefined on a host without one. */
export function unitOf(description: IommuDescription, release: Release): IommuUnit | undefined {
  const kind = kindOf(description.model);
  if (!kind.translates) return undefined;
  const { driver } = kind;
  const iommufd = kind.iommufdOf?.(description) ?? kind.iommufd;
  const unit: IommuUnit = {
    label: `${kind.title}, ${bitsOfLast(description.apertureLast)} address bits`,
    instance: description.instance ?? 0,
    driver: kind.model,
    apertureStart: kind.geometry?.start ?? description.apertureStart,
    apertureLast: kind.geometry?.last ?? description.apertureLast,
    pageSizes: driver.claimedPageSizes?.(release) ?? description.pageSizes,
    cacheCoherent: description.cacheCoherent,
    isolatedMsi: description.interruptRemapping,
    dirtyTracking: description.dirtyTracking ?? false,
    writeImpliesRead: driver.writeImpliesRead(release),
    refusesDirectRegions: driver.refusesDirectRegions(release),
    beyondAperture: driver.beyondAperture,
    nesting: driver.nestingErrno,
    mapsNoAccess: driver.mapsNoAccess,
    faultsNeedPageRequests: driver.faultsNeedPageRequests,
    hasPasidTables: driver.hasPasidTables,
    refusesLastByte: iommufd.refusesLastByte?.(release) ?? false,
    attachesOneDevice: iommufd.attachesOneDevice?.(release) ?? false,
    iommufd,
    ...(driver.doorbell !== undefined && { doorbell: driver.doorbell }),
    ...(description.registers && { registers: description.registers }),
  };
  return description.nesting && driver.secondStage
    ? { ...unit, secondStage: driver.secondStage(unit, release, description) }
    : unit;
}
