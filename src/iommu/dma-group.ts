import { fail } from "../kernel/errors.ts";
import type { Release } from "../kernel/releases.ts";
import { DevicePort } from "./device-port.ts";
import type { DeviceDma } from "./dma-target.ts";
import { groupLabel, type IommuGroup } from "./group.ts";
import type { DmaOwner } from "./requester.ts";

/** Which drivers of the host have devices of a group: they keep it from user space. */
export interface HostDrivers {
  /** The devices and drivers that are in the way, "0000:04:02.0 (uio_pci_generic)". */
  in(group: IommuGroup): readonly string[];
}

/**
 * A group as the IOMMU has it (struct iommu_group): who owns the DMA of its devices, and where that goes. It is there
 * whatever drivers its devices have. Containers and iommufds own it; neither needs a group of VFIO for that.
 */
export class DmaGroup {
  readonly iommuGroup: IommuGroup;
  readonly #hostDrivers: HostDrivers;
  /** Made when somebody first asks: large hosts have groups that nobody uses. */
  #made: ReadonlyMap<string, DevicePort> | undefined;
  #owner: DmaOwner | undefined;
  #claims = 0;

  constructor(iommuGroup: IommuGroup, hostDrivers: HostDrivers) {
    this.iommuGroup = iommuGroup;
    this.#hostDrivers = hostDrivers;
  }

  get #ports(): ReadonlyMap<string, DevicePort> {
    this.#made ??= new Map(this.iommuGroup.deviceNames.map((name) => [name, new DevicePort()]));
    return this.#made;
  }

  get label(): string {
    return `group ${this.iommuGroup.id}`;
  }

  /** Where a device's DMA leaves it. ENODEV for a device of another group. */
  port(device: string): DevicePort {
    return this.#ports.get(device) ?? fail("ENODEV", `${device} is not in ${this.label}`);
  }

  /** The group was attached: from now on each device's DMA goes where `reach` says, asked once for each. */
  connect(reach: (device: string) => DeviceDma | undefined): void {
    for (const [name, port] of this.#ports) port.connect(reach(name));
  }

  /** The group is detached: its devices reach nothing. */
  disconnect(): void {
    this.connect(() => undefined);
  }

  /** Whether user space owns the group's DMA. */
  get isClaimed(): boolean {
    return this.#owner !== undefined;
  }

  isOwnedBy(owner: DmaOwner): boolean {
    return this.#owner === owner;
  }

  /** Whether user space may own the group now (iommu_group_dma_owner_claimed). */
  get isViable(): boolean {
    return this.iommuGroup.kind !== "iommu" || (!this.isClaimed && this.hasOnlyOurDrivers);
  }

  /** Whether no driver of the host has a device of it (vfio.c:vfio_group_viable, before groups had owners). */
  get hasOnlyOurDrivers(): boolean {
    return this.iommuGroup.kind !== "iommu" || this.#hostDrivers.in(this.iommuGroup).length === 0;
  }

  /** Why the group is not viable: every driver that is in the way. */
  describeHostDrivers(): string {
    const drivers = this.#hostDrivers.in(this.iommuGroup);
    const one = drivers.length === 1;
    return `${this.label} is not viable: ${drivers.join(", ")} ${one ? "belongs" : "belong"} to the host; unbind ${one ? "it" : "each"} or bind it to vfio-pci`;
  }

  /**
   * Takes the group for a container or an iommufd (iommu_group_claim_dma_owner, iommu_device_claim_dma_owner). An owner
   * may take it several times.
   * @throws KernelError EPERM (somebody else has it, or drivers of the host), EINVAL (firmware has)
   */
  claim(owner: DmaOwner, release: Release): void {
    if (this.iommuGroup.kind !== "iommu") return;
    if (this.#owner !== undefined) {
      if (this.#owner !== owner) fail("EPERM", `${this.label} belongs to ${this.#owner.label}`);
      this.#claims++;
      return;
    }
    if (release.has("groupOwnership") && !this.hasOnlyOurDrivers) fail("EPERM", this.describeHostDrivers());
    const direct = this.iommuGroup.reservedRegions.find((region) => region.type === "direct");
    if (direct && release.has("directRegionsRefused")) {
      fail(
        "EINVAL",
        `firmware needs 0x${direct.start.toString(16)}-0x${direct.last.toString(16)} of ${groupLabel(this.iommuGroup)} mapped 1:1 (reserved region of type direct), so that it cannot be given to user space`,
      );
    }
    this.#owner = owner;
    this.#claims = 1;
  }

  /** Gives back what claim() took. */
  unclaim(owner: DmaOwner): void {
    if (this.#owner !== owner || --this.#claims > 0) return;
    this.#owner = undefined;
  }
}
