import type { HostDescription } from "../../machine/host-description.ts";
import { type FaultSpec, FaultSpecError } from "./fault-spec.ts";

/** Requests of the sPAPR container; plain ENABLE and DISABLE are its own too. */
const SPAPR = /^VFIO_(IOMMU_SPAPR_|IOMMU_ENABLE$|IOMMU_DISABLE$|EEH_)/;
/** Requests of /dev/iommu, and what devices need it for. */
const IOMMUFD = /^IOMMU_|IOMMUFD/;

/**
 * Refuses a fault that can never happen on this host, because nobody there serves the request.
 * @throws FaultSpecError
 */
export function refuseUnserved({ text, target }: FaultSpec, host: HostDescription): void {
  if (target.kind !== "request") return;
  const refuse = (what: string): never => {
    throw new FaultSpecError(`--fault "${text}": host ${host.name} ${what}, so ${target.name} never happens there`);
  };
  if (SPAPR.test(target.name) && host.vfioContainer !== "spapr")
    refuse("has no sPAPR container (power9 and pseries have)");
  if (IOMMUFD.test(target.name) && !host.iommufd) refuse("has no /dev/iommu (lab has)");
}
