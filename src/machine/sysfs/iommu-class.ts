import { AMD_DIRTY_EFR, VTD_DIRTY_ECAP } from "../dirty-tracking.ts";
import { allDevices } from "../find-device.ts";
import type { HostDescription, IommuModel } from "../host-description.ts";
import { VTD_NESTING_CAP, VTD_NESTING_ECAP } from "../vtd-nesting-registers.ts";
import { devicePath } from "./device-path.ts";
import type { TreeBuilder } from "./tree-builder.ts";

/** What the drivers call the first of their IOMMUs in /sys/class/iommu. POWER, s390 and no IOMMU register none. */
const UNIT_NAME: Readonly<Partial<Record<IommuModel, string>>> = {
  "intel-vtd": "dmar0",
  "intel-vtd-sm": "dmar0",
  "amd-vi": "ivhd0",
  "arm-smmu-v3": "smmu3.0x0000000009050000",
  "virtio-iommu": "virtio0",
};

/** /sys/class/iommu: one IOMMU that all devices are behind, and the links between it and them. */
export function addIommuClass(tree: TreeBuilder, host: HostDescription): void {
  tree.directory("/sys/class/iommu");
  const unit = UNIT_NAME[host.iommu.model];
  if (unit === undefined) return;
  const at = `/sys/devices/virtual/iommu/${unit}`;
  tree.link(`/sys/class/iommu/${unit}`, at);
  tree.link(`${at}/subsystem`, "/sys/class/iommu");
  tree.directory(`${at}/devices`);
  for (const { device } of allDevices(host)) {
    if (device.bus !== "pci") continue;
    tree.link(`${at}/devices/${device.bdf}`, devicePath(host, device));
    tree.link(`${devicePath(host, device)}/iommu`, at);
  }
  if (unit === "dmar0") addIntelRegisters(tree, `${at}/intel-iommu`, host);
  if (unit === "ivhd0") {
    // EFR bits 0 and 2, PreFSup and XTSup, tell nothing that a program decides on.
    tree.line(`${at}/amd-iommu/cap`, "40");
    tree.line(`${at}/amd-iommu/features`, (5n | (host.iommu.dirtyTracking ? AMD_DIRTY_EFR : 0n)).toString(16));
  }
}

/**
 * The register values that intel-iommu shows; DPDK takes the address width from `cap`. They start from those that
 * GET_HW_INFO returned on the recorded machine (0x00d2008c22260286, 0xf00f4a) and say this host's width and coherence.
 */
function addIntelRegisters(tree: TreeBuilder, at: string, { iommu }: HostDescription): void {
  const bits = (iommu.apertureLast + 1n).toString(2).length - 1 + (iommu.model === "intel-vtd-sm" ? 1 : 0);
  // CAP_REG: MGAW in 21:16 is the width less one; SAGAW in 12:8 has bits 1, 2 and 3 for 39, 48 and 57 bits.
  const sagaw = bits > 48 ? 0x8n : bits > 39 ? 0x4n : 0x2n;
  const withoutWidth = 0x00d2_008c_2226_0286n & ~(0x3fn << 16n) & ~(0x1fn << 8n);
  const cap = withoutWidth | (BigInt(Math.min(bits, 64) - 1) << 16n) | (sagaw << 8n);
  // ECAP_REG: bit 3 is interrupt remapping, bit 7 snoop control.
  const ecap = (0xf0_0f4an & ~0x8n) | (iommu.interruptRemapping ? 0x8n : 0n) | (iommu.cacheCoherent ? 0x80n : 0n);
  tree.line(`${at}/cap`, (cap | (iommu.nesting ? VTD_NESTING_CAP : 0n)).toString(16));
  tree.line(
    `${at}/ecap`,
    (ecap | (iommu.nesting ? VTD_NESTING_ECAP : 0n) | (iommu.dirtyTracking ? VTD_DIRTY_ECAP : 0n)).toString(16),
  );
  tree.line(`${at}/address`, "fed90000");
  tree.line(`${at}/version`, "1:0");
}
