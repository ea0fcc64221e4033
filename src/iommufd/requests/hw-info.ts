import { PASID_BITS } from "../../iommu/requester.ts";
import { fail, hex } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import type { Task } from "../../kernel/task.ts";
import { wordFromBigInt } from "../../kernel/word.ts";
import {
  IommuHwInfoV617 as HwInfo,
  IOMMU_HW_CAP_DIRTY_TRACKING,
  IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED,
  IOMMU_HW_CAP_PCI_PASID_PRIV,
  IOMMU_HW_INFO_FLAG_INPUT_TYPE,
  IOMMU_HW_INFO_TYPE_DEFAULT,
} from "../../uapi/iommufd-hwpt.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import { BoundDevice } from "../devices/bound-device.ts";

const ZEROS = new Uint8Array(4096);

/** device.c:iommufd_get_hw_info */
export function getHwInfo(context: IommufdContext, command: Command): number {
  const request = HwInfo.read(command.view, 0);
  const { release } = context.module.context;
  const known = release.has("hwInfoInputType") ? IOMMU_HW_INFO_FLAG_INPUT_TYPE : 0;
  const unknown = (request.flags & ~known) >>> 0;
  if (unknown) fail("EOPNOTSUPP", `unknown flag bits ${hex(unknown)} (known: ${hex(known)})`);
  if (request.__reserved.some((byte) => byte !== 0)) fail("EOPNOTSUPP", "the field __reserved must be 0");
  const { unit, name } = context.objects.find(request.dev_id, BoundDevice, "device");
  const identity = context.module.requesters.find(name);
  // a mediated device has no PASIDs of its parent's
  const abilities = unit.secondStage && context.module.pasidHardware && !identity?.isMediated ? identity : undefined;
  const driver = unit.iommufd;
  const { pasidBits = PASID_BITS } = driver;
  const hasPasids = release.has("pasidAttach") && abilities?.pasid && pasidBits > 0;
  const wanted = request.flags & IOMMU_HW_INFO_FLAG_INPUT_TYPE ? request.in_data_type : IOMMU_HW_INFO_TYPE_DEFAULT;
  faultPoint("failslab");
  const data = driver.info(unit);
  if (data.length > 0 && wanted !== IOMMU_HW_INFO_TYPE_DEFAULT && wanted !== driver.infoType) {
    fail("EOPNOTSUPP", `${unit.label} has information of type ${driver.infoType}, not of type ${wanted}`);
  }
  writePadded(command.task, request.data_uptr, data, request.data_len);
  HwInfo.write(command.view, 0, {
    data_len: data.length,
    out_data_type: driver.infoType,
    out_max_pasid_log2: hasPasids ? Math.min(PASID_BITS, pasidBits) : 0,
    out_capabilities: BigInt(
      (unit.dirtyTracking && release.has("hwptDirtyTracking") ? IOMMU_HW_CAP_DIRTY_TRACKING : 0) |
        (hasPasids && identity?.pasidPrivileged ? IOMMU_HW_CAP_PCI_PASID_PRIV : 0) |
        (release.has("hwInfoAts") && !abilities?.ats ? IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED : 0),
    ),
  });
  command.respond(HwInfo);
  return 0;
}

/** Writes `data` and zeros behind it, `room` bytes together. EFAULT. */
function writePadded(task: Task, address: bigint, data: Uint8Array, room: number): void {
  const head = Math.min(data.length, room);
  task.memory.copyOut(wordFromBigInt(address), data, head);
  for (let done = head; done < room; done += ZEROS.length) {
    const count = Math.min(ZEROS.length, room - done);
    task.memory.copyOut(wordFromBigInt(address + BigInt(done)), ZEROS, count);
  }
}
