import type { IommuUnit } from "./unit.ts";

/** How a reserved region may be used (include/linux/iommu.h: enum iommu_resv_type; names as sysfs prints them). */
export type ReservedRegionType = "direct" | "direct-relaxable" | "msi" | "reserved";

/** A range of IOVAs that a device cannot use for DMA as others can. Inclusive bytes. */
export interface ReservedRegion {
  readonly start: bigint;
  readonly last: bigint;
  readonly type: ReservedRegionType;
}

/**
 * Regions that only firmware uses before the operating system takes over do not bind the user
 * (IOMMU_RESV_DIRECT_RELAXABLE).
 */
export function binds(region: ReservedRegion): boolean {
  return region.type !== "direct-relaxable";
}

/**
 * iommu: an IOMMU translates; emulated: a mediated device without IOMMU backing, whose driver pins what it uses;
 * noiommu: made up by VFIO for a device that has no IOMMU at all (enum vfio_group_type).
 */
export type IommuGroupKind = "iommu" | "emulated" | "noiommu";

/** The smallest set of devices that the IOMMU can tell from others. */
export interface IommuGroup {
  readonly id: number;
  /** Undefined where nothing translates: see kind. */
  readonly unit: IommuUnit | undefined;
  readonly kind: IommuGroupKind;
  readonly reservedRegions: readonly ReservedRegion[];
  /** The devices in it by name, for messages. */
  readonly deviceNames: readonly string[];
}

/** "0000:00:1b.0 (group 12)" */
export function groupLabel(group: Pick<IommuGroup, "id" | "deviceNames">): string {
  const names = group.deviceNames.join(", ");
  return names === "" ? `group ${group.id}` : `${names} (group ${group.id})`;
}
