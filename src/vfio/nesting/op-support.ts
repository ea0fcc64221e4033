import { DESCRIPTORS } from "../../uapi/intel-invalidation.ts";
import {
  IOMMU_CACHE_INV_TYPE_DEV_IOTLB,
  IOMMU_CACHE_INV_TYPE_IOTLB,
  IOMMU_CACHE_INV_TYPE_PASID,
} from "../../uapi/iommu-v510.ts";
import * as rfc from "../../uapi/rfc-2017.ts";
import type { NestingContainer } from "./nesting-container.ts";

/** Descriptors that a guest may hand over: not those of the queue itself, nor of interrupts. */
const TAKEN = ["contextCache", "iotlb", "deviceTlb", "pasidIotlb", "pasidCache", "pasidDeviceTlb"] as const;

/** Bit n: descriptor type n. */
export const TAKEN_DESCRIPTORS = TAKEN.reduce((bits, kind) => bits | (1 << DESCRIPTORS[kind].type), 0);

/**
 * Descriptors in one request. A Linux guest puts that many into its queue before it waits (drivers/iommu/intel/iommu.h:
 * QI_MAX_BATCHED_DESC_COUNT), and they are carried out in less time than may pass between two looks at other clients.
 */
export const MAX_DESCRIPTORS = 16;

export const KNOWN_HINTS =
  rfc.INTEL_INVALIDATE_GLOBAL_HINT | rfc.INTEL_INVALIDATE_DRAIN_READ | rfc.INTEL_INVALIDATE_DRAIN_WRITE;

export const ALL_CACHES = IOMMU_CACHE_INV_TYPE_IOTLB | IOMMU_CACHE_INV_TYPE_DEV_IOTLB | IOMMU_CACHE_INV_TYPE_PASID;

/** The model of the IOMMU that all of a container's devices are behind; 0 when not all of them can nest. */
export function modelForBinding(container: NestingContainer): number {
  const units = container.groups.map(({ iommuGroup }) => iommuGroup.unit);
  return units.length > 0 && units.every((unit) => unit?.hasPasidTables) ? rfc.IOMMU_MODEL_INTEL : 0;
}

/** The model that what is bound has; with nothing bound, the one that a bind would have. */
export function modelInForce(container: NestingContainer): number {
  return container.hasBindings ? rfc.IOMMU_MODEL_INTEL : modelForBinding(container);
}

/** Bit n: operation n works on the container as it is now. */
export function opsOf(container: NestingContainer): number {
  const invalidate = modelInForce(container) === 0 ? 0 : 1 << rfc.VFIO_IOMMU_OP_INVALIDATE;
  if (modelForBinding(container) === 0) return invalidate;
  const isShared = container.requesters.some(({ identity }) => identity.isMediated);
  return (
    invalidate |
    (1 << rfc.VFIO_IOMMU_OP_BIND_PASID) |
    (1 << rfc.VFIO_IOMMU_OP_BIND_PAGE_TABLE) |
    (isShared ? 0 : 1 << rfc.VFIO_IOMMU_OP_BIND_PASID_TABLE)
  );
}
