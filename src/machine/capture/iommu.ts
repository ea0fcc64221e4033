import type { CapturedUnit } from "../../iommu/kind.ts";
import { iommuKinds, kindOf } from "../../iommu/kinds.ts";
import type { HostFile } from "../host-schema.ts";
import { CaptureError } from "./capture-error.ts";
import type { SourceTree } from "./source-tree.ts";

type IommuFile = HostFile["iommu"];

/** How a group is described when VFIO made it for a device without an IOMMU. */
const NOIOMMU_GROUP = "vfio-noiommu";

/** The host's IOMMU: what its kernel shows of it. */
export function captureIommu(tree: SourceTree, arch: string | undefined): IommuFile {
  const units = tree.list("sys/class/iommu") ?? [];
  const unit = units.find((name) => sysfsOf(name) !== undefined);
  if (unit !== undefined) return unitFacts(tree, unit);
  if (units.length > 0)
    throw new CaptureError(
      `the IOMMU ${units[0]} is of a kind that uvfio does not know (it knows dmar, ivhd, smmu3 and virtio units)`,
    );
  const model = modelWithoutUnit(tree, arch);
  const kind = kindOf(model);
  if (kind.defaults.container === "spapr") return { model, platform: powerPlatform(tree) };
  if (kind.translates)
    tree.miss(`what the ${model} translates is not in /sys: usual values (iommu.aperture_end, iommu.page_sizes)`);
  return { model };
}

/** The facts of one unit, where it tells any. */
export function unitFacts(tree: SourceTree, unit: string): CapturedUnit {
  return sysfsOf(unit)!.capture({
    name: unit,
    register: (path) => register(tree, `sys/class/iommu/${unit}/${path}`),
    commandLine: tree.text("proc/cmdline") ?? "",
    miss: (what) => tree.miss(what),
  });
}

function sysfsOf(unit: string) {
  return iommuKinds().find(({ sysfs }) => sysfs?.names.test(unit))?.sysfs;
}

/** Hex without 0x, up to a colon where a file has two. */
function register(tree: SourceTree, path: string): bigint | undefined {
  const text = tree.text(path)?.trim().split(":")[0];
  return text !== undefined && /^[0-9a-f]+$/i.test(text) ? BigInt(`0x${text}`) : undefined;
}

/** A kind that registers nothing in /sys/class/iommu: which one it is follows from the machine. */
function modelWithoutUnit(tree: SourceTree, arch: string | undefined): string {
  const groups = tree.list("sys/kernel/iommu_groups") ?? [];
  const made = groups.filter((id) => tree.text(`sys/kernel/iommu_groups/${id}/name`) === NOIOMMU_GROUP);
  const isThere = groups.length > made.length;
  const kind = iommuKinds().find(
    ({ sysfs, translates, usualArch }) => !sysfs && translates === isThere && (!translates || usualArch === arch),
  );
  if (kind) return kind.model;
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
