import { hexRange } from "../../kernel/errors.ts";
import { RESERVED_REGION_TYPES } from "../host-description.ts";
import type { GroupFile, HostFile } from "../host-schema.ts";
import { captureDevice, type DeviceSurroundings } from "./devices.ts";
import { unitFacts } from "./iommu.ts";
import { IoMemory } from "./resources.ts";
import type { SourceTree } from "./source-tree.ts";

type RegionFile = NonNullable<GroupFile["reserved_regions"]>[number];

const GROUPS = "sys/kernel/iommu_groups";
const DEVICES = "sys/bus/pci/devices";

/** All IOMMU groups (Documentation/ABI/testing/sysfs-kernel-iommu_groups), by number. */
export function captureGroups(tree: SourceTree, iommu: HostFile["iommu"], configSpace: boolean): CapturedGroups {
  const io = new IoMemory(tree);
  const ids = (tree.list(GROUPS) ?? []).filter((name) => /^\d+$/.test(name)).map(Number);
  const groups = ids.sort((a, b) => a - b).map((id) => captureGroup(tree, id, iommu, { configSpace, io }));
  const present = new Set(groups.flatMap((group) => (group.devices ?? []).flatMap((d) => ("bdf" in d ? [d.bdf] : []))));
  const kept = groups.map((group) => ({
    ...group,
    devices: (group.devices ?? []).filter((device) => {
      if (!("uuid" in device) || present.has(device.parent)) return true;
      tree.miss(`mediated device ${device.uuid}: its parent is no PCI device of a group (left out)`);
      return false;
    }),
  }));
  return { groups: kept, devices: devicesAlone(tree, present, { configSpace, groupName: undefined, io }) };
}

export interface CapturedGroups {
  readonly groups: GroupFile[];
  /** In no group. */
  readonly devices: NonNullable<HostFile["devices"]>;
}

/** PCI devices that no IOMMU is behind. */
function devicesAlone(tree: SourceTree, present: ReadonlySet<string>, around: DeviceSurroundings) {
  const names = (tree.list(DEVICES) ?? []).filter((name) => !present.has(name));
  return names.flatMap((name) => captureDevice(tree, `${DEVICES}/${name}`, name, around) ?? []);
}

function captureGroup(
  tree: SourceTree,
  id: number,
  iommu: HostFile["iommu"],
  around: Omit<DeviceSurroundings, "groupName">,
): GroupFile {
  const at = `${GROUPS}/${id}`;
  const groupName = tree.text(`${at}/name`);
  const names = tree.list(`${at}/devices`) ?? [];
  const devices = names.flatMap((name) => {
    const found = captureDevice(tree, `${at}/devices/${name}`, name, { ...around, groupName });
    if (!found) tree.miss(`group ${id}: ${name} is neither a PCI nor a mediated device (left out)`);
    return found ?? [];
  });
  const type = tree.text(`${at}/type`);
  const regions = tree.text(`${at}/reserved_regions`);
  if (regions === undefined)
    tree.miss(`reserved regions of group ${id} cannot be read: usual ones (groups[].reserved_regions)`);
  const own = ownIommu(tree, at, names, iommu);
  return {
    id,
    ...(type !== undefined && { type }),
    ...(groupName !== undefined && { name: groupName }),
    ...(own && { iommu: own }),
    ...(regions !== undefined && { reserved_regions: parseRegions(tree, id, regions) }),
    devices,
  };
}

/** The facts of the unit behind a group, where they are others than the host's. */
function ownIommu(
  tree: SourceTree,
  at: string,
  devices: readonly string[],
  iommu: HostFile["iommu"],
): GroupFile["iommu"] {
  const unit = devices.map((name) => tree.linkName(`${at}/devices/${name}/iommu`)).find((name) => name !== undefined);
  if (unit === undefined) return undefined;
  const { model: _model, vtd_cap: _cap, vtd_ecap: _ecap, ...facts } = unitFacts(tree, unit);
  const differs = (Object.keys(facts) as (keyof typeof facts)[]).some((key) => facts[key] !== iommu[key]);
  return differs ? facts : undefined;
}

/** `0xSTART 0xLAST TYPE` a line (drivers/iommu/iommu.c: iommu_group_show_resv_regions). */
function parseRegions(tree: SourceTree, id: number, text: string): RegionFile[] {
  const regions = text.split("\n").flatMap((line): RegionFile[] => {
    const [start, end, word] = line.trim().split(/\s+/);
    const type = RESERVED_REGION_TYPES.find((known) => known === word);
    if (start === undefined || start === "" || end === undefined) return [];
    if (!type) {
      tree.miss(`group ${id}: reserved region of an unknown kind "${word}" (taken as reserved)`);
      return [{ start: BigInt(start), end: BigInt(end), type: "reserved" }];
    }
    return [{ start: BigInt(start), end: BigInt(end), type }];
  });
  return withoutOverlaps(tree, id, regions);
}

/**
 * Regions of different kinds may overlap on a real host, in a host file they may not: what lies in an earlier one is
 * cut off.
 */
function withoutOverlaps(tree: SourceTree, id: number, regions: readonly RegionFile[]): RegionFile[] {
  // the relaxable ones bind nobody, so they give way
  const weight = (region: RegionFile) => (region.type === "direct-relaxable" ? 1 : 0);
  const kept: RegionFile[] = [];
  for (const region of [...regions].sort((a, b) => weight(a) - weight(b) || (a.start < b.start ? -1 : 1))) {
    let { start, end } = region;
    for (const other of kept) {
      if (other.start > end || other.end < start) continue;
      tree.miss(
        `group ${id}: the regions ${hexRange(start, end)} (${region.type}) and ${hexRange(other.start, other.end)} (${other.type}) overlap (cut)`,
      );
      if (start >= other.start) start = other.end + 1n;
      else end = other.start - 1n;
    }
    if (start <= end) kept.push({ ...region, start, end });
  }
  return kept.sort((a, b) => (a.start < b.start ? -1 : 1));
}
