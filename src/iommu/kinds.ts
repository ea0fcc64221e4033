import type { Arch } from "../kernel/arch.ts";
import { amdVi } from "./amd-vi/kind.ts";
import type { IommuDescription } from "./description.ts";
import type { ReservedRegion } from "./group.ts";
import type { IommuKind } from "./kind.ts";
import { mock } from "./mock/kind.ts";
import type { NestingIommus } from "./nesting-iommus.ts";
import { none } from "./none/kind.ts";
import { s390 } from "./s390/kind.ts";
import { smmuV3 } from "./smmu-v3/kind.ts";
import { tce } from "./tce/kind.ts";
import { virtioIommu } from "./virtio-iommu/kind.ts";
import { vtd, vtdScalable, vtdSecondStage } from "./vtd/kinds.ts";

/** All kinds of IOMMU by their names. A new one is a folder and a line here. The command loads what it uses. */
const KINDS: Readonly<Record<string, () => IommuKind>> = {
  "intel-vtd": () => vtd,
  "intel-vtd-sm": () => vtdScalable,
  "intel-vtd-ss": () => vtdSecondStage,
  "amd-vi": () => amdVi,
  "virtio-iommu": () => virtioIommu,
  "arm-smmu-v3": () => smmuV3,
  "spapr-tce": () => tce,
  s390: () => s390,
  mock: () => mock,
  none: () => none,
};

/** The names of kinds in host files. */
export const IOMMU_MODELS: readonly string[] = Object.keys(KINDS);

/** All of them. */
export function iommuKinds(): readonly IommuKind[] {
  return IOMMU_MODELS.map((model) => KINDS[model]!());
}

/**
 * The kind of that name. Descriptions that are made in code are not checked before, so it throws RangeError for a name
 * that there is not.
 */
export function kindOf(model: string): IommuKind {
  if (!Object.hasOwn(KINDS, model))
    throw new RangeError(`iommu.model: no kind of IOMMU is called "${model}" (there are: ${IOMMU_MODELS.join(", ")})`);
  return KINDS[model]!();
}

/**
 * The IOMMUs of a host as those use them who bind page tables and PASIDs. The vSVA proposals were written for one kind
 * that nests, and on a host that does not nest speak to such ones.
 */
export function nestingIommusOf(description: IommuDescription): NestingIommus {
  const own = kindOf(description.model).makeNesting;
  const make = (description.nesting && own) || firstNesting();
  return make(description);
}

/** Kinds behind the first that nests are not loaded for it. */
function firstNesting(): NonNullable<IommuKind["makeNesting"]> {
  for (const kind of Object.values(KINDS)) {
    const { makeNesting } = kind();
    if (makeNesting) return makeNesting;
  }
  throw new RangeError("no kind of IOMMU nests");
}

/** What a model is called in a host file or, with free text behind it, in a recording. Undefined when it names none. */
export function kindFromText(text: string): IommuKind | undefined {
  const word = /^[a-z0-9-]+(?=$|[\s,(;])/.exec(text)?.[0];
  return iommuKinds().find((kind) => kind.means?.(text)) ?? iommuKinds().find(({ model }) => model === word);
}

/** The regions that a group behind a kind of IOMMU has when it lists none. */
export function regionsOf(model: string, arch: Arch): readonly ReservedRegion[] {
  return kindOf(model)
    .defaults.reservedRegions(arch)
    .map(({ region }) => region);
}

/** What people call a reserved region that some kind gives its groups; undefined for others. */
export function regionName(region: { readonly start: bigint; readonly last: bigint }): string | undefined {
  for (const kind of iommuKinds()) {
    const known = [...kind.defaults.reservedRegions(kind.usualArch), ...kind.defaults.reservedRegions("arm64")].find(
      (candidate) => candidate.region.start === region.start && candidate.region.last === region.last,
    );
    if (known) return known.name;
  }
  return undefined;
}
