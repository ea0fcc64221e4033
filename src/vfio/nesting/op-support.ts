import type { Capability } from "../../uapi/capability-chain.ts";
import { DESCRIPTORS } from "../../uapi/intel-invalidation.ts";
import * as rfc from "../../uapi/rfc-2017.ts";
import type { NestingContainer } from "./nesting-container.ts";

/** Descriptors that a guest may hand over: not those of the queue itself, nor of interrupts. */
const ALLOWED_DESCRIPTORS = [
  "contextCache",
  "iotlb",
  "deviceTlb",
  "pasidIotlb",
  "pasidCache",
  "pasidDeviceTlb",
] as const;

/** The model of the IOMMU that a container's devices are behind; 0 when there is none that can nest. */
export function modelOf(container: NestingContainer): number {
  const units = container.groups.map(({ iommuGroup }) => iommuGroup.unit);
  return units.length > 0 && units.every((unit) => unit?.hasPasidTables) ? rfc.IOMMU_MODEL_INTEL : 0;
}

/** What PROBE and the capability say: the bytes of struct vfio_iommu_op_probe. */
export function opSupport(container: NestingContainer): Uint8Array {
  const model = modelOf(container);
  if (model === 0) return rfc.VfioIommuOpProbe.encode({});
  const isShared = container.requesters.some(({ identity }) => identity.isMediated);
  const ops =
    (1 << rfc.VFIO_IOMMU_OP_BIND_PASID) |
    (1 << rfc.VFIO_IOMMU_OP_BIND_PAGE_TABLE) |
    (1 << rfc.VFIO_IOMMU_OP_INVALIDATE) |
    (isShared ? 0 : 1 << rfc.VFIO_IOMMU_OP_BIND_PASID_TABLE);
  const descriptors = ALLOWED_DESCRIPTORS.reduce((bits, kind) => bits | (1 << DESCRIPTORS[kind].type), 0);
  return rfc.VfioIommuOpProbe.encode({ ops, models: 1 << model, descriptors, pasid_bits: 20 });
}

export function opCapability(container: NestingContainer): Capability {
  return { id: rfc.VFIO_IOMMU_TYPE1_INFO_CAP_OP, version: 1, body: opSupport(container) };
}
