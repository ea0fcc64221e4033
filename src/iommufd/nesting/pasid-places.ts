import { IOMMU_PGFAULT_PERM_READ, IOMMU_PGFAULT_PERM_WRITE } from "../../uapi/iommufd-viommu.ts";
import type { VfioGroup } from "../../vfio/group.ts";
import { type Attachment, NO_PASID } from "../devices/attachment.ts";
import type { PageTable } from "../devices/page-table.ts";
import { NestedHwpt } from "./nested-hwpt.ts";
import type { WantedPage } from "./requester-target.ts";
import { VtdDomain } from "./vtd-domain.ts";
import type { VtdDevice, VtdHardware } from "./vtd-hardware.ts";

/** Canonical addresses of four-level tables end here, the lower half. */
const LOWER_HALF = 1n << 47n;

/**
 * Whether requests without a PASID have to go through the IOMMU's PASID table: what they miss there is a page request, or what is remembered may
 * be stale. Other page tables are what the program's mappings are at any time.
 */
export function isTranslatedByTable(pageTable: PageTable): boolean {
  return pageTable instanceof NestedHwpt || pageTable.fault !== undefined;
}

/** The entries of a group's devices in the IOMMU's PASID tables. */
export class PasidPlaces {
  readonly hardware: VtdHardware;
  readonly #group: VfioGroup;

  constructor(hardware: VtdHardware, group: VfioGroup) {
    this.hardware = hardware;
    this.#group = group;
  }

  /** The devices that an attach concerns: with a PASID, those that have PASIDs. */
  devices(pasid: number): readonly VtdDevice[] {
    const all = this.hardware.devicesOf(this.#group.iommuGroup);
    return pasid === NO_PASID ? all : all.filter((device) => device.pasid);
  }

  enter(pageTable: PageTable, pasid: number): void {
    const domain = VtdDomain.of(this.hardware.tables, pageTable);
    for (const { source, ats } of this.devices(pasid)) domain.enter({ source, pasid, ats });
  }

  leave(pageTable: PageTable, pasid: number): void {
    for (const { source } of this.devices(pasid)) pageTable.vtd?.leave(source, pasid);
  }

  /**
   * A device asks for a page: the request goes to the fault queue of what it is attached to, and is refused where there is none, and where the
   * driver takes no such request (intel/prq.c:prq_event_thread, io-pgfault.c:iommu_report_device_fault).
   */
  ask(
    device: VtdDevice,
    pasid: number | undefined,
    { address, write, privileged }: WantedPage,
    attachment: Attachment | undefined,
    answered: (granted: boolean) => void,
  ): void {
    const group = this.hardware.nextGroup(device.source);
    const queue = attachment?.pageTable.fault;
    const isCanonical = address < LOWER_HALF || address >= 2n ** 64n - LOWER_HALF;
    if (!attachment || !queue || privileged || !isCanonical) {
      answered(false);
      return;
    }
    const { handle } = attachment;
    const permissions = write ? IOMMU_PGFAULT_PERM_WRITE : IOMMU_PGFAULT_PERM_READ;
    queue.raise({ handle, deviceId: handle.device.id, pasid, group, permissions, address, answered });
  }
}
