import { kindOf } from "../iommu/kinds.ts";
import { type FeatureName, firstWith, Release } from "../kernel/releases.ts";
import type { ApiProfile } from "./host-description.ts";

/** What of a host depends on its kernel's release. */
export interface KernelNeeds {
  /** `major.minor` */
  readonly kernel: string;
  readonly model: string;
  /** A proposal's kernel has what the proposal is about, whatever release it calls itself. */
  readonly api: ApiProfile | null | undefined;
  /** What answers on /dev/vfio/vfio, where the host says so. */
  readonly container: string | null | undefined;
  readonly hasMediatedDevices: boolean;
}

/** Why a host that nests cannot speak a proposal; undefined when it can. */
export function refuseApi(api: ApiProfile | null | undefined, model: string, nesting: boolean): string | undefined {
  if ((api ?? "mainline") === "mainline" || !nesting || kindOf(model).nestsForProposals) return undefined;
  return `${api} was proposed before ${model} could nest: leave nesting out, or speak mainline`;
}

/**
 * Why a kernel of that release cannot have such a host; undefined when it can. Releases that have less answer as they
 * did.
 */
export function refuseKernel({ kernel, model, api, container, hasMediatedDevices }: KernelNeeds): string | undefined {
  if ((api ?? "mainline") !== "mainline") return undefined;
  const release = new Release(kernel);
  const lacks = (feature: FeatureName | undefined, what: string) =>
    feature === undefined || release.has(feature)
      ? undefined
      : `${kernel} has no ${what}: that came with ${firstWith(feature)}`;
  return (
    lacks(kindOf(model).needs, `driver for ${model}`) ??
    (container === "iommufd" ? lacks("iommufd", "iommufd, which vfio_container asks for") : undefined) ??
    (hasMediatedDevices ? lacks("mediatedDevices", "mediated devices") : undefined)
  );
}
