import { kindOf } from "../../iommu/kinds.ts";
import { printable } from "../../kernel/printable.ts";
import { completeHost } from "../complete-host.ts";
import type { HostDescription } from "../host-description.ts";
import type { HostFile } from "../host-schema.ts";
import { toYaml } from "../write-host.ts";
import { type AcpiFacts, captureAcpi } from "./acpi.ts";
import { CaptureError } from "./capture-error.ts";
import { captureGroups } from "./groups.ts";
import { captureIommu } from "./iommu.ts";
import { captureKernel, captureModules } from "./kernel.ts";
import { SourceTree } from "./source-tree.ts";

export interface CaptureOptions {
  /** The directory that has the host's sys, proc and dev; / for the machine itself. */
  readonly root: string;
  readonly name: string;
  /** Whether devices' config space is wanted. */
  readonly configSpace: boolean;
}

/** A host that was captured. */
export interface Captured {
  /** As all else here takes it. */
  readonly host: HostDescription;
  /** The host file: comments about what is missing, then the host. */
  readonly yaml: string;
  /** What could not be found out, a line each, the most important first. */
  readonly missing: readonly string[];
}

/**
 * Describes a host from its /sys and /proc.
 * @throws CaptureError when there is no /sys, or its IOMMU is of a kind that has no model
 */
export function capture({ root, name, configSpace }: CaptureOptions): Captured {
  const tree = new SourceTree(root);
  if (!tree.exists("sys")) throw new CaptureError(`${root}: no directory sys in it`);
  const acpi = captureAcpi(tree);
  const kernel = captureKernel(tree);
  const iommu = captureIommu(tree, kernel.arch);
  const { translates } = kindOf(iommu.model);
  const { groups, devices } = captureGroups(tree, iommu, configSpace);
  const file: HostFile = {
    name,
    description: `${translates ? iommu.model : "no IOMMU"}, captured${kernel.release === undefined ? "" : ` on ${printable(kernel.release)}`}`,
    ...(kernel.kernel !== undefined && { kernel: kernel.kernel }),
    ...(kernel.arch && { arch: kernel.arch }),
    ...(kernel.pageSize !== undefined && { page_size: kernel.pageSize }),
    ...captureModules(tree, translates),
    iommu,
    groups,
    ...(devices.length > 0 && { devices }),
  };
  const host = completeHost(file);
  const missing = [...(translates ? [] : [noIommu(tree, acpi)]), ...tree.missing];
  return { host, yaml: `${comments(acpi, missing)}${toYaml(host)}`, missing };
}

/** The first thing that people must know about such a host. */
function noIommu(tree: SourceTree, { hasIommu, lines }: AcpiFacts): string {
  const devices = (tree.list("sys/bus/pci/devices") ?? []).length;
  const why = hasIommu
    ? `firmware describes one (${lines.join("; ")}), but the kernel does not use it: switch it on (intel_iommu=on, amd_iommu=on)`
    : "firmware describes none, or the kernel does not show it";
  return `no IOMMU: ${why}. Its ${devices} PCI devices are in no IOMMU group, so VFIO cannot give them to a guest`;
}

function comments({ lines }: AcpiFacts, missing: readonly string[]): string {
  const all = [
    "Captured by uvfio capture.",
    ...lines.map((line) => `Firmware: ${line}`),
    ...missing.map((line) => `Missing: ${line}`),
  ];
  return all.map((line) => `# ${printable(line)}\n`).join("");
}
