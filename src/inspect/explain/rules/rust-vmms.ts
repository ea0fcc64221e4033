import { NOT_VIABLE_CAUSE } from "../causes/attach.ts";
import type { RuleSet } from "../rule.ts";
import { re } from "./pattern.ts";

/** An errno as Rust prints it: "Permission denied (os error 13)", Os { code: 13, ...}, Error(17). */
const ERR = "(?:[^\\n]{0,80}?(?:os error |code: |Error\\()(?<errno>\\d+)|[: (]+(?<errno>[A-Z][a-z][\\w/ ]{4,50}))";

/**
 * VMMs in Rust: cloud-hypervisor (pci/src/vfio.rs, vmm/src/device_manager.rs), rust-vmm's vfio-ioctls, crosvm
 * (devices/src/vfio.rs), and those that embed them (kata, dragonball, openvmm).
 */
export const RUST_VMMS: RuleSet = {
  program: "a VMM in Rust (cloud-hypervisor, crosvm, rust-vmm)",
  rules: [
    {
      id: "rust-ioas-map",
      pattern: re(`(?:failed to map an IOVA range to the IOAS|IommufdIoasMap|iommufd IOAS DMA map failed)${ERR}`, ""),
      says: "iommufd did not map memory of the guest",
      call: "ioas-map",
    },
    {
      id: "rust-map",
      pattern: re(
        `(?:IommuDmaMap|IommuDmaMap\\(|failed to add guest memory map into iommu table|VfioDmaMap|Failed to DMA map)${ERR}`,
        "",
      ),
      says: "memory of the guest was not mapped for the device",
      call: "map",
    },
    {
      id: "rust-unmap",
      pattern: re(`(?:IommuDmaUnmap|failed to remove guest memory map from iommu table|Failed to DMA unmap)${ERR}`, ""),
      says: "memory of the guest was not unmapped",
      call: "unmap",
    },
    {
      id: "rust-open-group",
      pattern: re(
        "(?:OpenGroup\\(|failed to open /dev/vfio/(?<group>\\d+) group: )[^\\n]{0,120}?(?:os error |code: )(?<errno>\\d+)",
        "",
      ),
      says: "the group's node cannot be opened",
      call: "open-group",
    },
    {
      id: "rust-open-container",
      pattern: re(
        "(?:OpenContainer\\(|failed to open /dev/vfio/vfio container: )[^\\n]{0,120}?(?:os error |code: )(?<errno>\\d+)",
        "",
      ),
      says: "/dev/vfio/vfio cannot be opened",
      call: "open-container",
    },
    {
      id: "rust-open-cdev",
      pattern: re(
        "(?:OpenDeviceCdev\\(|failed to open device cdev: )[^\\n]{0,120}?(?:os error |code: )(?<errno>\\d+)",
        "",
      ),
      says: "the device's own node cannot be opened",
      call: "open-cdev",
    },
    {
      id: "rust-cdev-folder",
      pattern: /InvalidVfioDev\b|invalid 'vfio_dev' folder/,
      says: "the device has no node of its own",
      call: "open-cdev",
      errno: "ENOENT",
    },
    {
      id: "rust-iommufd",
      pattern: re(
        "(?:Cannot create iommufd|failed to new VfioIommufd|failed to open /dev/iommu)[^\\n]{0,120}?(?:os error |code: )(?<errno>\\d+)",
        "",
      ),
      says: "/dev/iommu cannot be used",
      call: "open-iommufd",
    },
    {
      id: "not-viable-rust",
      ask: "set-container",
      pattern: /\bGroupViable\b|(?<!VFIO )group is (?:not viable|inviable)/,
      says: "the group cannot be given to a guest as it is",
      certain: true,
      causes: [NOT_VIABLE_CAUSE],
    },
    {
      id: "rust-set-iommu",
      pattern: re(`(?:ContainerSetIOMMU|failed to set container's IOMMU driver type as \\S+)${ERR}`, ""),
      says: "the container did not get its IOMMU",
      call: "set-iommu",
    },
    {
      id: "rust-set-container",
      ask: "set-container",
      pattern: re(
        `(?:GroupSetContainer|failed to add vfio group into vfio container|failed to set container)(?:${ERR})?`,
        "",
      ),
      says: "the group did not get into the container",
      causes: [
        {
          cause:
            "the group is in use: by the host's drivers, by another process, or by an iommufd; or the device does not go with those that are in the container",
          cure: "bind all devices of the group to vfio-pci; one process has a group; for a device behind another IOMMU a container of its own",
          tell: "strace -f -e ioctl shows the errno; uvfio explain VFIO_GROUP_SET_CONTAINER ERRNO has its causes",
          saidBy: ["not-viable", "rmrr-ineligible", "one-to-one-mapping"],
        },
      ],
      capture: "strace -f -e trace=openat,ioctl: the errno, which this message leaves out",
    },
    {
      id: "rust-type1v2",
      pattern:
        /VfioType1V2\b(?! *:)|container doesn't support VfioType1V2 IOMMU driver type|failed to check VFIO extension/,
      says: "the kernel offers no IOMMU of type1 v2",
      call: "set-iommu",
      errno: "ENODEV",
    },
    {
      id: "rust-device-fd",
      pattern: re(`(?:GroupGetDeviceFD|failed to get vfio device fd)${ERR}`, ""),
      says: "the group does not give the device away",
      call: "device-fd",
    },
    {
      id: "rust-bind-iommufd",
      pattern: re(`(?:VfioDeviceBindIommufd|failed to bind the vfio device to the specified iommufd)${ERR}`, ""),
      says: "the device was not bound to the iommufd",
      call: "bind-iommufd",
    },
    {
      id: "rust-attach-pt",
      pattern: re(
        `(?:VfioDeviceAttachIommufdPt|failed to associate the vfio device with an IOAS within the bound iommufd)${ERR}`,
        "",
      ),
      says: "the device was not attached to the address space",
      call: "attach-pt",
    },
    {
      id: "rust-region-align",
      pattern:
        /(?:must be at least a multiple of 4KiB|Invalid region (?:alignment|size)|CreateUserMemory\w*\([^)]*Invalid argument)/,
      says: "a region of the device cannot be mapped into the guest",
      certain: true,
      causes: [
        {
          cause:
            "the region or its sparse areas do not begin and end at pages of the host (64 KiB pages with BARs of 4 KiB)",
          cure: "a kernel with 4 KiB pages, or a release of the VMM that traps such BARs",
          tell: "getconf PAGESIZE",
        },
      ],
    },
    {
      id: "rust-region-info",
      pattern: /Could not get region #(?<region>\d+) info/,
      kind: "harmless",
      says: "the device has no region {region} (8 is VGA): the VMM asks for all that there may be",
    },
    {
      id: "rust-irqs",
      pattern: re(
        `(?:VfioDevice(?:Set|Enable|Disable|Unmask|Trigger)Irq|failed to (?:set|enable|disable|unmask|trigger) vfio device irq)(?:${ERR})?`,
        "",
      ),
      says: "an interrupt of the device was not set up",
      causes: [
        {
          cause: "the INTx line is shared with a device of the host, or the host has no vectors left",
          cure: 'dmesg | tail says "Flags mismatch irq" for the first',
          saidBy: ["irq-flags-mismatch"],
        },
      ],
      capture: "strace -f -e ioctl: the errno, which this message leaves out",
    },
    {
      id: "rust-bar-move",
      pattern: /Failed moving device BAR: failed allocating new MMIO range/,
      says: "the guest moves a BAR to where the VMM has no room for it",
      causes: [
        {
          cause: "the guest's firmware or kernel sizes or places BARs anew, outside of the VMM's windows",
          cure: "a guest kernel that leaves BARs where they are (pci=nocrs out of its command line), or boot it without firmware",
        },
      ],
    },
    {
      id: "rust-unbind",
      pattern: /Could not unbind VFIO group: (?<group>\d+)/,
      says: "the group is still in use when the program lets go of it",
      causes: [
        {
          cause:
            "a descriptor of the device is still open (EBUSY): the container or the device object lives longer than the group's",
          cure: "close the device before the group; drop the objects in that order",
        },
      ],
    },
    {
      id: "rust-device-create",
      pattern:
        /\bVfio(?:Create|PciCreate|MapRegion)\b|Cannot create a VFIO (?:PCI )?device|Failed to map VFIO MMIO region/,
      kind: "consequence",
      says: "the device could not be given to the guest",
    },
  ],
};
