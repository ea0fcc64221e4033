import { kindOf } from "../iommu/kinds.ts";
import type { DeviceDescription, GroupDescription, HostDescription } from "./host-description.ts";

/**
 * The name that VFIO gives to groups of its own making: no-IOMMU and unbacked mdev ones (drivers/vfio/group.c:
 * vfio_noiommu_group_alloc).
 */
export const VFIO_GROUP_NAME = "vfio-noiommu";

/**
 * Groups for devices that have no IOMMU, one for each, as no-IOMMU mode would make them: the number of the group that a
 * file puts them in, and for the others the lowest that are free (iommu_group_alloc takes them from an ida).
 * @param devices those that a file puts in no group
 */
export function groupsWithoutIommu(
  groups: readonly GroupDescription[],
  devices: readonly DeviceDescription[],
): readonly GroupDescription[] {
  const taken = new Set(groups.map(({ id }) => id));
  let next = 0;
  const free = () => {
    while (taken.has(next)) next++;
    taken.add(next);
    return next;
  };
  const alone = (id: number, device: DeviceDescription): GroupDescription => ({
    id,
    type: "unknown",
    name: VFIO_GROUP_NAME,
    noIommu: true,
    reservedRegions: [],
    devices: [device],
  });
  const kept = groups.flatMap((group) => {
    if (!group.noIommu || group.devices.length < 2) return [group];
    return group.devices.map((device, index) => ({ ...group, id: index === 0 ? group.id : free(), devices: [device] }));
  });
  return [...kept, ...devices.map((device) => alone(free(), device))];
}

/** Whether no-IOMMU mode is on when the host boots; a kernel without it has no such parameter. */
export function isNoIommuModeOn({ modules }: Pick<HostDescription, "modules">): boolean {
  return modules.vfio.enableUnsafeNoiommuMode === true;
}

/**
 * Why a device cannot have a VFIO driver, in words for who wants it; the bind is EINVAL
 * (group.c:vfio_group_find_or_alloc).
 */
export function noGroupReason({ modules, iommu }: Pick<HostDescription, "modules" | "iommu">): string {
  const cure =
    modules.vfio.enableUnsafeNoiommuMode === undefined
      ? "this kernel is built without no-IOMMU mode"
      : "or, without any protection, set vfio.enable_unsafe_noiommu_mode=1";
  const why = kindOf(iommu.model).translates
    ? "the host's IOMMU is not behind it"
    : "switch the IOMMU on in the firmware and the kernel (intel_iommu=on; AMD and Arm: firmware)";
  return `no IOMMU group: ${why}; ${cure}`;
}
