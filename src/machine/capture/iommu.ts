import { AMD_DIRTY_EFR } from "../dirty-tracking.ts";
import type { IommuModel } from "../host-description.ts";
import type { HostFile } from "../host-schema.ts";
import { CaptureError } from "./capture-error.ts";
import type { SourceTree } from "./source-tree.ts";
import { register, vtdFacts } from "./vtd.ts";

type IommuFile = HostFile["iommu"];

/** Names of IOMMUs in /sys/class/iommu by their drivers (the iommu_device_sysfs_add() calls in drivers/iommu). */
const DRIVERS: readonly (readonly [RegExp, IommuModel])[] = [
  [/^dmar\d+$/, "intel-vtd"],
  [/^ivhd\d+$/, "amd-vi"],
  [/^smmu3\./, "arm-smmu-v3"],
  [/^virtio\d+$/, "virtio-iommu"],
];

/** How a group is described when VFIO made it for a device without an IOMMU. */
const NOIOMMU_GROUP = "vfio-noiommu";

/** The host's IOMMU: what its kernel shows of it. */
export function captureIommu(tree: SourceTree, arch: string | undefined): IommuFile {
  const units = tree.list("sys/class/iommu") ?? [];
  const model = modelOf(tree, units, arch);
  const unit = units.find((name) => DRIVERS.some(([pattern]) => pattern.test(name)));
  if (model === "intel-vtd" || model === "amd-vi") return unitFacts(tree, unit!);
  if (model === "spapr-tce") return { model, platform: powerPlatform(tree) };
  if (model === "arm-smmu-v3" || model === "virtio-iommu" || model === "s390")
    tree.miss(`what the ${model} translates is not in /sys: usual values (iommu.aperture_end, iommu.page_sizes)`);
  return { model };
}

/** The facts of one unit, where it tells any. */
export function unitFacts(tree: SourceTree, unit: string): IommuFile {
  const model = DRIVERS.find(([pattern]) => pattern.test(unit))![1];
  if (model === "amd-vi") {
    const features = register(tree, `sys/class/iommu/${unit}/amd-iommu/features`) ?? 0n;
    return { model, ...((features & AMD_DIRTY_EFR) === AMD_DIRTY_EFR && { dirty_tracking: true }) };
  }
  if (model !== "intel-vtd") return { model };
  const facts = vtdFacts(tree, unit);
  if (!facts) {
    tree.miss(`registers of ${unit} cannot be read: usual values (iommu.address_bits, iommu.page_sizes)`);
    return { model };
  }
  const isScalable = /\bintel_iommu=\S*sm_on/.test(tree.text("proc/cmdline") ?? "");
  const firstStage = facts.firstStage && isScalable;
  if (facts.firstStage && !firstStage)
    tree.miss(
      `whether ${unit} runs in scalable mode is not in /sys: second-stage tables assumed (else iommu.model: intel-vtd-sm)`,
    );
  return {
    model: firstStage ? "intel-vtd-sm" : model,
    address_bits: facts.addressBits,
    page_sizes: facts.pageSizes,
    cache_coherent: facts.cacheCoherent,
    interrupt_remapping: facts.interruptRemapping,
    dirty_tracking: isScalable && facts.dirtyTracking && (!firstStage || facts.nesting),
    ...(firstStage && facts.nesting && { nesting: true }),
  };
}

function modelOf(tree: SourceTree, units: readonly string[], arch: string | undefined): IommuModel {
  const groups = tree.list("sys/kernel/iommu_groups") ?? [];
  for (const [pattern, model] of DRIVERS) if (units.some((name) => pattern.test(name))) return model;
  if (units.length > 0)
    throw new CaptureError(
      `the IOMMU ${units[0]} is of a kind that uvfio does not know (it knows dmar, ivhd, smmu3 and virtio units)`,
    );
  const made = groups.filter((id) => tree.text(`sys/kernel/iommu_groups/${id}/name`) === NOIOMMU_GROUP);
  if (groups.length === made.length) return "none";
  if (arch === "ppc64le") return "spapr-tce";
  if (arch === "s390x") return "s390";
  throw new CaptureError(
    "there are IOMMU groups, but neither /sys/class/iommu nor the architecture (/proc/sys/kernel/arch) says what IOMMU it is",
  );
}

function powerPlatform(tree: SourceTree): NonNullable<IommuFile["platform"]> {
  const cpuinfo = tree.text("proc/cpuinfo") ?? "";
  if (!/^platform\s*:\s*PowerNV/im.test(cpuinfo)) {
    if (!/^platform\s*:\s*pSeries/im.test(cpuinfo))
      tree.miss("the platform is not in /proc/cpuinfo: pseries assumed (iommu.platform)");
    return "pseries";
  }
  const generation = /^cpu\s*:\s*POWER(\d+)/im.exec(cpuinfo)?.[1];
  if (generation === "8") return "powernv8";
  return generation === "9" ? "powernv9" : "powernv10";
}
