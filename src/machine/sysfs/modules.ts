import { Release } from "../../kernel/releases.ts";
import { DEFAULT_PASID_QUOTA, type HostDescription } from "../host-description.ts";
import { physicalFunctions } from "../virtual-functions.ts";
import type { SysfsState } from "./sysfs-state.ts";
import { READ_ONLY, READ_WRITE, type TreeBuilder } from "./tree-builder.ts";

type Parameters = Readonly<Record<string, string>>;

/** /sys/module: the modules that make up VFIO on this host, and their parameters. */
export function addModules(tree: TreeBuilder, host: HostDescription, { actions }: SysfsState): void {
  const { vfio, vfioIommuType1, iommufd } = host.modules;
  const release = new Release(host.kernel);
  const addModule = (name: string, parameters: Parameters, mode = READ_WRITE) => {
    const at = `/sys/module/${name}`;
    tree.directory(at);
    tree.line(`${at}/initstate`, "live");
    for (const [parameter, value] of Object.entries(parameters)) {
      const file = `${at}/parameters/${parameter}`;
      const full = `${name}/${parameter}`;
      if (actions === undefined) tree.line(file, value, mode);
      else
        tree.live(
          file,
          mode,
          () => actions.parameters.text(full),
          (text) => actions.parameters.write(full, text),
        );
    }
  };
  addModule("vfio", {
    ...(vfio.enableUnsafeNoiommuMode !== undefined &&
      release.has("noiommuGroups") && { enable_unsafe_noiommu_mode: flag(vfio.enableUnsafeNoiommuMode) }),
  });
  addModule("vfio_pci", vfioPciParameters(host), READ_ONLY);
  addModule("vfio_pci_core", {});
  // With iommufd's container neither of the two is built (recorded on intel39-k72c: no dma_entry_limit).
  if (host.vfioContainer === "type1")
    addModule("vfio_iommu_type1", {
      ...(release.has("dmaEntryLimit") && { dma_entry_limit: String(vfioIommuType1.dmaEntryLimit) }),
      allow_unsafe_interrupts: flag(vfioIommuType1.allowUnsafeInterrupts),
      disable_hugepages: flag(vfioIommuType1.disableHugepages),
      ...(host.api !== "mainline" && { pasid_quota: String(DEFAULT_PASID_QUOTA) }),
    });
  if (host.vfioContainer === "spapr") addModule("vfio_iommu_spapr_tce", {});
  if (host.iommufd) addModule("iommufd", { allow_unsafe_interrupts: flag(iommufd.allowUnsafeInterrupts) });
  if (host.groups.some((group) => group.devices.some((device) => device.bus === "mdev"))) addModule("mdev", {});
}

/** Names of real modules that must not show through. */
export function isVfioModule(name: string): boolean {
  return /^(vfio|mdev$|iommufd$)/.test(name);
}

/** drivers/vfio/pci/vfio_pci.c. They are as they were when the module was loaded. By name, as /sys shows them. */
export function vfioPciParameters(host: HostDescription): Readonly<Record<string, string>> {
  const { vfioPci } = host.modules;
  const release = new Release(host.kernel);
  // where there are physical functions, vfio-pci is meant to make virtual ones of them
  const makesFunctions = physicalFunctions(host).size > 0;
  return {
    ...((vfioPci?.vga ?? host.arch === "x86_64") && { disable_vga: flag(vfioPci?.disableVga ?? false) }),
    nointxmask: flag(false),
    ...(release.has("deviceDenylist") && { disable_denylist: flag(false) }),
    disable_idle_d3: flag(false),
    ...(release.has("vfTokens") && { enable_sriov: flag(makesFunctions) }),
  };
}

/** param_get_bool(). */
function flag(value: boolean): string {
  return value ? "Y" : "N";
}
