import type { IovaRange } from "../../address/iova-ranges.ts";
import type { FoundDevice } from "../../machine/find-device.ts";
import type { GroupDescription, HostDescription } from "../../machine/host-description.ts";

/** What the kernel of a host says once the guest's devices are in one container. */
export interface ContainerAnswer {
  /**
   * VFIO_IOMMU_GET_INFO's valid IOVA ranges; absent when nothing limits IOVAs (only mediated devices without an IOMMU).
   */
  readonly validRanges?: readonly IovaRange[];
  /** Smallest IOMMU page in bytes: what mappings must be multiples of. */
  readonly iommuPage: bigint;
  /** Mappings that a container may have; absent when the kernel does not limit them. */
  readonly entryLimit?: number;
}

/** The host's side of the question. */
export interface FitHost {
  readonly description: HostDescription;
  /** The devices that the guest gets. */
  readonly devices: readonly FoundDevice[];
  /** Absent when the devices cannot be used at all: `refusal` says why. */
  readonly answer?: ContainerAnswer;
  readonly refusal?: string;
  /** Devices that could be used if the others were left out. */
  readonly usable?: readonly FoundDevice[];
  /** What had to be assumed about the host, and what must be done before the guest starts. */
  readonly notes: readonly string[];
  /** What the host must be set to so that it gives its devices away: each completes "it fits if ...". */
  readonly conditions: readonly string[];
}

/** The groups of the guest's devices, each once. */
export function groupsOf(host: FitHost): readonly GroupDescription[] {
  return [...new Set(host.devices.map(({ group }) => group))];
}

/** Whether an IOMMU translates for a group; nothing does for a mediated device without one. */
export function hasIommu(group: GroupDescription): boolean {
  return !group.devices.some((device) => device.bus === "mdev" && !device.iommuBacked);
}
