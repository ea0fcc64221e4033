import { SourceTree } from "./source-tree.ts";

/** What a full description is made of, and what is not known without it. */
const PARTS: readonly (readonly [path: string, what: string])[] = [
  ["sys/kernel/iommu_groups", "groups and reserved regions: without them no guest fits"],
  ["sys/class/iommu", "what the IOMMU is and translates"],
  ["sys/bus/pci/devices", "the devices"],
  ["sys/devices", "what the links of sys/bus/pci/devices lead to: ids, BARs, drivers"],
  ["sys/module/vfio_iommu_type1/parameters", "limits and settings of VFIO's IOMMU driver"],
  ["proc/sys/kernel/osrelease", "the kernel's release"],
  ["proc/sys/kernel/arch", "the architecture (Linux 6.1 and later)"],
  ["proc/cmdline", "settings of the IOMMU on the kernel's command line"],
  ["proc/iomem", "who has memory inside of BARs (as root)"],
];

/** What a copy of a host's files lacks for a full verdict, a line each; empty files of /proc are tar's. */
export function absentParts(root: string): readonly string[] {
  const tree = new SourceTree(root);
  return PARTS.flatMap(([path, what]) => {
    if (!tree.exists(path)) return [`/${path} is not in the copy: ${what}`];
    if (path.startsWith("proc/") && tree.text(path) === "")
      return [`/${path} is empty in the copy (tar copies nothing of /proc; cat does): ${what}`];
    return [];
  });
}
