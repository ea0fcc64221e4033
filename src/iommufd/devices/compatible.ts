import { NO_PASID } from "../../iommu/domain.ts";
import { canShareDomain } from "../../iommu/share-domain.ts";
import { fail } from "../../kernel/errors.ts";
import type { PasidPlaces } from "../nesting/pasid-places.ts";
import type { AttachedDevice, Attachment } from "./attachment.ts";
import type { PageTable } from "./page-table.ts";

/** What a group is attached to so far. */
interface AttachedGroup {
  /** For messages: "group 12". */
  readonly label: string;
  readonly hasPasids: boolean;
  attachmentOf(pasid: number): Attachment | undefined;
}

/**
 * Whether a group can be attached to a page table (device.c:iommufd_hwpt_pasid_compat;
 * iommu.c:iommu_attach_device_pasid; the attach operations of the IOMMU's driver). Changes nothing. EINVAL, ENODEV.
 */
export function checkCompatible(
  group: AttachedGroup,
  device: AttachedDevice,
  pageTable: PageTable,
  pasid: number,
  places: PasidPlaces | undefined,
): void {
  checkPasids(group, pageTable, pasid);
  const devices = places?.devices(pasid) ?? [];
  if (pasid !== NO_PASID) {
    // devices without PASIDs are passed over: an attach to them alone has no effect (iommu.c:__iommu_set_group_pasid)
    if (!places || devices.length === 0) return;
    if (pasid >= places.pasidEnd) fail("EINVAL", `PASID ${pasid} is beyond the devices' ${places.pasidEnd}`);
  }
  checkShare(device, pageTable);
  const { fault } = pageTable;
  if (fault && device.unit.faultsNeedPageRequests) {
    const unable = places ? devices.find(({ pri }) => !pri)?.name : device.name;
    if (unable !== undefined) fail("ENODEV", `${unable} has no page requests that could go to ${fault.label} (pri)`);
  }
  pageTable.checkWalkable({ devices, pasid });
}

function checkPasids(group: AttachedGroup, pageTable: PageTable, pasid: number): void {
  if (pasid === NO_PASID) {
    if (pageTable.pasidCompatible || !group.hasPasids) return;
    fail("EINVAL", `${group.label} is attached with PASIDs, and ${pageTable.label} was not made for such groups`);
  }
  if (!pageTable.pasidCompatible) {
    fail("EINVAL", `${pageTable.label} was not made for PASIDs (IOMMU_HWPT_ALLOC_PASID)`);
  }
  const plain = group.attachmentOf(NO_PASID)?.pageTable;
  if (plain && !plain.pasidCompatible) {
    fail("EINVAL", `${group.label} is attached to ${plain.label} without PASID, which was not made for PASIDs`);
  }
}

/** intel/iommu.c:paging_domain_compatible and its kin. */
function checkShare(device: AttachedDevice, { paging: hwpt }: PageTable): void {
  const { unit, label } = device;
  if (hwpt.dirty && !unit.dirtyTracking) {
    fail("EINVAL", `${unit.label} of ${label} has no dirty tracking, which ${hwpt.label} was made for`);
  }
  if (unit.iommufd.walksAnyTable && hwpt.unit.driver === unit.driver) return;
  const stage = hwpt.isSecondStage ? unit.secondStage : unit;
  if (stage && canShareDomain(hwpt.unit, stage)) return;
  fail("EINVAL", `${unit.label} of ${label} cannot walk ${hwpt.label}, made for ${hwpt.unit.label}`);
}
