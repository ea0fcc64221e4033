import type { IommuModel } from "./host-description.ts";

/** Why an IOMMU cannot have `dirty_tracking`; undefined when it can. First-stage tables of VT-d have dirty bits that its driver does not use. */
export function dirtyTrackingProblem(model: IommuModel, nesting: boolean): string | undefined {
  if (model === "intel-vtd" || model === "amd-vi" || (model === "intel-vtd-sm" && nesting)) return undefined;
  return `${model} has no dirty tracking; intel-vtd, amd-vi, and intel-vtd-sm with nesting can have it`;
}

/**
 * What VT-d's ECAP_REG has then: scalable mode with second-stage tables, access and dirty bits in them, and coherent walks (SMTS, SLADS, SSTS,
 * SMPWC; all that the kernel's ssads_supported() asks for).
 */
export const VTD_DIRTY_ECAP = (1n << 43n) | (1n << 45n) | (1n << 46n) | (1n << 48n);

/** What AMD-Vi's extended feature register has then: HASup and HDSup, access and dirty bits in host page tables. */
export const AMD_DIRTY_EFR = (1n << 49n) | (1n << 52n);
