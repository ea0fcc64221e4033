import { binds, groupLabel } from "../../iommu/group.ts";
import { canShareDomain } from "../../iommu/share-domain.ts";
import { fail, hexRange } from "../../kernel/errors.ts";
import type { VfioGroup } from "../../vfio/group.ts";
import type { Ioas } from "../ioas.ts";
import { TableDma } from "../memory/table-dma.ts";
import type { BoundDevice } from "./bound-device.ts";
import type { Hwpt } from "./hwpt.ts";

/** An IOMMU group as one iommufd has it (struct iommufd_group): all devices in it are attached to the same page table. */
export class GroupAttachment {
  readonly group: VfioGroup;
  hwpt: Hwpt | undefined;
  /** Devices that are attached. */
  readonly devices = new Set<BoundDevice>();

  constructor(group: VfioGroup) {
    this.group = group;
  }

  /** device.c:iommufd_hw_pagetable_attach. EINVAL for another page table than the group's, or one that its IOMMU cannot walk; EADDRINUSE. */
  attach(device: BoundDevice, hwpt: Hwpt): void {
    if (this.hwpt && this.hwpt !== hwpt) {
      fail("EINVAL", `${this.group.label} is attached to ${this.hwpt.label}; all its devices share that`);
    }
    reserveFor(device, hwpt.ioas);
    try {
      if (!this.hwpt) this.#checkShare(device, hwpt);
    } catch (error) {
      hwpt.ioas.table.unreserve(device);
      throw error;
    }
    this.#use(hwpt);
    hwpt.users++;
    this.devices.add(device);
  }

  /** device.c:iommufd_device_do_replace: moves the whole group. Returns the page table that it leaves. */
  replace(device: BoundDevice, hwpt: Hwpt): Hwpt | undefined {
    const old = this.hwpt;
    if (!old || !this.devices.has(device)) fail("EINVAL", `${device.label} is not attached`);
    if (hwpt === old) return undefined;
    const moves = hwpt.ioas !== old.ioas;
    try {
      if (moves) for (const each of this.devices) reserveFor(each, hwpt.ioas);
      this.#checkShare(device, hwpt);
    } catch (error) {
      if (moves) for (const each of this.devices) hwpt.ioas.table.unreserve(each);
      throw error;
    }
    if (moves) for (const each of this.devices) old.ioas.table.unreserve(each);
    this.#use(hwpt);
    hwpt.users += this.devices.size;
    old.users -= this.devices.size;
    return old;
  }

  /** device.c:iommufd_hw_pagetable_detach. Returns the page table that the device leaves. */
  detach(device: BoundDevice): Hwpt | undefined {
    const { hwpt } = this;
    if (!hwpt || !this.devices.delete(device)) return undefined;
    if (this.devices.size === 0) this.#use(undefined);
    hwpt.ioas.table.unreserve(device);
    hwpt.users--;
    return hwpt;
  }

  #use(hwpt: Hwpt | undefined): void {
    this.hwpt = hwpt;
    this.group.translation = hwpt && new TableDma(hwpt.ioas.table, hwpt.unit);
  }

  #checkShare(device: BoundDevice, hwpt: Hwpt): void {
    if (canShareDomain(hwpt.unit, device.unit)) return;
    fail("EINVAL", `${device.unit.label} of ${device.label} cannot walk ${hwpt.label}, made for ${hwpt.unit.label}`);
  }
}

/** io_pagetable.c:iopt_table_enforce_dev_resv_regions: all of the device's regions or none. */
function reserveFor(device: BoundDevice, { table }: Ioas): void {
  const { iommuGroup } = device.group;
  try {
    for (const { start, last, type } of iommuGroup.reservedRegions.filter(binds)) {
      const label = `the reserved range ${hexRange(start, last)} (${type}) of ${groupLabel(iommuGroup)}`;
      table.reserve({ start, last, owner: device, label });
    }
  } catch (error) {
    table.unreserve(device);
    throw error;
  }
}
