import { NOT_VIABLE_CAUSE } from "../causes/attach.ts";
import { BAR_CLAIMED } from "../causes/device.ts";
import type { RuleSet } from "../rule.ts";
import { BDF, re } from "./pattern.ts";

const ERR = "(?<errno>-?\\d{1,3}\\b|[A-Z][a-z][\\w/ ]{4,60})";

/** QEMU: hw/vfio/*.c, backends/iommufd.c, util/vfio-helpers.c, hw/i386 and hw/virtio for vIOMMUs. */
export const QEMU: RuleSet = {
  program: "QEMU",
  rules: [
    {
      id: "qemu-dma-map",
      pattern:
        /\bvfio_(?:container_|legacy_)?dma_map ?\((?:0x[0-9a-f]+|\(nil\)|nil), (?<iova>0x[0-9a-f]+), (?<size>0x[0-9a-f]+), (?:0x[0-9a-f]+|\(nil\))\) = (?<errno>-\d+)/i,
      says: "VFIO did not map the guest's range {iova} + {size}",
      call: "map",
    },
    {
      id: "qemu-iommu-map-notify",
      pattern: /\bvfio_iommu_map_dirty_notify\(\S+, (?<iova>0x[0-9a-f]+), (?<size>0x[0-9a-f]+)\) = (?<errno>-\d+)/i,
      says: "the dirty pages of {iova} + {size} cannot be read",
      causes: [
        {
          cause:
            "what the guest's vIOMMU maps changed while it was migrated, or the host's kernel tracks no dirty pages",
          cure: "migrate with a kernel from 5.8 on, or with a device that tracks by itself",
        },
      ],
    },
    {
      id: "qemu-dma-unmap",
      pattern:
        /\bvfio_(?:container_|legacy_)?dma_unmap ?\((?:0x[0-9a-f]+|\(nil\)), (?<iova>0x[0-9a-f]+), (?<size>0x[0-9a-f]+)\) = (?<errno>-\d+)/i,
      says: "VFIO did not unmap {iova} + {size}",
      call: "unmap",
    },
    {
      id: "qemu-map-failed",
      pattern: re(`VFIO_MAP_DMA failed: ?${ERR}`),
      says: "VFIO did not map a range of the guest",
      call: "map",
      capture: "QEMU's next lines: vfio_dma_map(..., IOVA, SIZE, ...) = -ERRNO says which range it was",
    },
    {
      id: "qemu-unmap-failed",
      pattern: re(`VFIO_UNMAP_DMA failed: ?${ERR}`),
      says: "VFIO did not unmap a range",
      call: "unmap",
    },
    {
      id: "qemu-cannot-map-region",
      pattern:
        /(?:IOMMU )?Container (?:0x)?[0-9a-f]+ can't map (?:guest )?IOVA region (?<iova>0x[0-9a-f]+)\.\.(?<last>0x[0-9a-f]+)/i,
      says: "the guest's range {iova}-{last} lies outside of what the host's IOMMU takes",
      call: "map",
      errno: "EINVAL",
    },
    {
      id: "qemu-unaligned",
      pattern:
        /vfio_listener_region_(?:add|del) received unaligned region (?<region>[^ ]+)?(?: iova=(?<iova>0x[0-9a-f]+))?/i,
      says: "a region of the guest does not begin and end at host pages, and QEMU leaves it out",
      certain: true,
      causes: [
        {
          cause:
            "the region {region} is smaller than a page of the host or lies across one, so that devices cannot reach it by DMA",
          cure: "nothing, when no device is to reach it (BARs of some KiB on hosts with 64 KiB pages); for memory: sizes that are multiples of the host's page",
        },
      ],
    },
    {
      id: "qemu-no-dma-map",
      pattern:
        /Region "?(?<region>[^"]+)"? (?:0x[0-9a-f]+ size=0x[0-9a-f]+ )?is not aligned to (?<page>0x[0-9a-f]+) and cannot be mapped for DMA/i,
      kind: "harmless",
      says: "the BAR region {region} is smaller than the host's page ({page}): other devices cannot reach it (peer-to-peer), the guest's processors can",
    },
    {
      id: "qemu-dma-mappings-short",
      pattern: /possibly running out of DMA mappings\b(?:.*Maximum possible DMA mappings: (?<mappings>\d+))?/i,
      says: "memory that is plugged in pieces (virtio-mem, guest_memfd) may take more mappings than the container has",
      certain: true,
      causes: [
        {
          cause:
            "the worst case of the guest's memory, a mapping for each block, is more than the limit of the container",
          cure: "a larger block-size of the virtio-mem device, or a higher limit: echo 1000000 > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit",
        },
      ],
    },
    {
      id: "not-viable",
      ask: "set-container",
      pattern: /(?:group (?<group>\d+) is not viable|VFIO group is not viable)/i,
      says: "the group cannot be given to a guest as it is",
      certain: true,
      causes: [NOT_VIABLE_CAUSE],
    },
    {
      id: "qemu-not-viable-hint",
      pattern: /Please ensure all devices within the iommu_?group are bound to their vfio bus driver/i,
      kind: "consequence",
      says: "the group is not viable: a device of it is bound to a driver of the host",
    },
    {
      id: "qemu-no-group",
      ask: "open-group",
      pattern: re(
        `(?:no iommu_group found|error getting iommu_group|Failed to find iommu group sysfs path)(?:: ?${ERR}|: (?<path>\\S+))?`,
      ),
      says: "the device has no IOMMU group",
      causes: [
        {
          cause: "the IOMMU is off, in the firmware or in the kernel, or the machine has none",
          cure: "switch on VT-d or AMD-Vi in the firmware, and intel_iommu=on on the kernel's command line (AMD needs none); then ls /sys/kernel/iommu_groups is not empty",
          tell: "dmesg | grep -e DMAR -e AMD-Vi -e IOMMU",
          saidBy: ["no-dmar", "iommu-disabled"],
        },
        { cause: "there is no such device on the host, or its address has another domain", cure: "lspci -D" },
      ],
    },
    {
      id: "qemu-no-device",
      pattern: re(`no such host device:? ?(?:${BDF})?(?:: ?${ERR})?`),
      says: "the host has no such device",
      certain: true,
      causes: [
        {
          cause:
            "no device has that address: it is gone, it was renumbered by a new card or a firmware setting, or a virtual function was not made",
          cure: "lspci -D; echo N > /sys/bus/pci/devices/PF/sriov_numvfs makes virtual functions",
        },
      ],
    },
    {
      id: "qemu-open-group",
      pattern: re(
        `(?:failed to open|error opening|Could not open|cannot open|Failed to open|Unable to open) '?/dev/vfio/(?:noiommu-)?(?<group>\\d+)'?[:,]? ?(?:\\[Errno \\d+\\] ?)?${ERR}`,
      ),
      says: "/dev/vfio/{group} cannot be opened",
      call: "open-group",
    },
    {
      id: "qemu-open-container",
      pattern: re(
        `(?:failed to open|error opening|Could not open|cannot open|Unable to open) '?/dev/vfio/vfio\\b'?[:,]? ?(?:\\[Errno \\d+\\] ?)?${ERR}`,
      ),
      says: "/dev/vfio/vfio cannot be opened",
      call: "open-container",
    },
    {
      id: "qemu-open-iommufd",
      pattern: re(
        `(?:failed to open|error opening|Could not open|cannot open|Unable to open) '?/dev/iommu\\b'?[:,]? ?${ERR}`,
      ),
      says: "/dev/iommu cannot be opened",
      call: "open-iommufd",
    },
    {
      id: "qemu-cdev-folder",
      pattern: re(`couldn't open directory \\S*${BDF}\\S*/vfio-dev: ?${ERR}`),
      says: "the device has no node of its own",
      call: "open-cdev",
    },
    {
      id: "qemu-open-cdev",
      pattern: re(
        `(?:failed to open|error opening|Could not open|cannot open) '?/dev/vfio/devices/(?<node>vfio\\d+)'?[:,]? ?${ERR}`,
      ),
      says: "/dev/vfio/devices/{node} cannot be opened",
      call: "open-cdev",
    },
    {
      id: "qemu-cdev-missing",
      pattern: /failed to find vfio-dev\/vfioX\/dev|Failed to open \/dev\/vfio\/devices\/(?<node>vfio\d+)/i,
      says: "the device has no node of its own that can be opened",
      call: "open-cdev",
      errno: "ENOENT",
    },
    {
      id: "qemu-bind-iommufd",
      pattern: re(`error bind device fd=\\d+ to iommufd=\\d+: ?${ERR}`),
      says: "the device was not bound to the iommufd",
      call: "bind-iommufd",
    },
    {
      id: "qemu-attach-pt",
      pattern: re(`error attach (?:${BDF}|\\S+) \\(\\d+\\) to id=\\d+: ?${ERR}`),
      says: "the device was not attached to the address space",
      call: "attach-pt",
    },
    {
      id: "qemu-alloc-hwpt",
      pattern: re(
        `(?:Failed to allocate hwpt|IOMMU_HWPT_ALLOC failed|error alloc(?:ating)? shadow hwpt)(?:: ?${ERR})?`,
      ),
      says: "no page table was made for the device",
      call: "alloc-hwpt",
    },
    {
      id: "qemu-ioas-map",
      pattern: re(`IOMMU_IOAS_MAP(?:_FILE)? failed: ?${ERR}`),
      says: "iommufd did not map a range of the guest",
      call: "ioas-map",
    },
    {
      id: "qemu-bar-p2p",
      pattern:
        /IOMMU_IOAS_MAP.*, PCI BAR\?|failed to vfio_dma_map\. pci p2p may not work|PCI peer-to-peer transactions? on BARs? (?:is|are) not supported/i,
      kind: "harmless",
      says: "a BAR cannot be mapped for other devices (peer-to-peer); the guest runs, without that",
    },
    {
      id: "qemu-set-iommu",
      pattern: re(`(?:failed to set iommu for container|Failed to set VFIO IOMMU type): ?${ERR}`),
      says: "the container did not get its IOMMU, so that the device cannot be used",
      call: "set-iommu",
    },
    {
      id: "qemu-set-container",
      pattern: re(
        `(?:failed to set group container|Failed to add group to VFIO container|error setting group container): ?${ERR}`,
      ),
      says: "the group did not get into the container",
      call: "set-container",
    },
    {
      id: "qemu-no-iommu-models",
      pattern: /No available IOMMU models|VFIO IOMMU Type1 is not supported/i,
      says: "the kernel offers no type of IOMMU for the container",
      call: "set-iommu",
      errno: "ENODEV",
    },
    {
      id: "qemu-address-spaces",
      pattern: /group (?<group>\d+) used in multiple address spaces/i,
      says: "two devices of one group are to have different address spaces",
      certain: true,
      causes: [
        {
          cause:
            "the vIOMMU of the guest gives each device an address space of its own, and a group can be in one only",
          cure: "give the guest one device of the group, put both behind one conventional bridge of the guest (-device pcie-pci-bridge), or leave out the vIOMMU",
        },
      ],
    },
    {
      id: "qemu-already-attached",
      pattern: /(?:vfio[: ]+)?(?:error: )?device (?<name>\S+ )?is already attached/i,
      says: "the device is given to the guest twice",
      certain: true,
      causes: [
        { cause: "the same device stands twice on the command line or in the domain", cure: "leave one of both out" },
      ],
    },
    {
      id: "qemu-device-fd",
      pattern: re(`error getting device (?:${BDF} )?from group (?<group>\\d+): ?${ERR}`),
      says: "the group does not give the device away",
      call: "device-fd",
    },
    {
      id: "qemu-verify-group",
      pattern: /Verify all devices in group (?<group>\d+) are bound to vfio-<bus> or pci-stub and not already in use/i,
      kind: "consequence",
      says: "QEMU's hint to the line before: the device is in use, or not bound to vfio-pci",
    },
    {
      id: "qemu-caching-mode",
      pattern: /caching-mode=on for (?:Intel IOMMU|intel-iommu)/i,
      says: "the guest's Intel vIOMMU cannot be used with passed-through devices as it is set",
      certain: true,
      causes: [
        {
          cause:
            "without caching mode the vIOMMU does not tell QEMU of new mappings, so that the host's IOMMU would not follow",
          cure: "-device intel-iommu,caching-mode=on (libvirt: <driver caching_mode='on'/> of <iommu>)",
        },
      ],
    },
    {
      id: "qemu-notifier",
      pattern: /device \S+ requires iommu (?:notifier|MAP notifier) which is not currently supported/i,
      says: "the guest's vIOMMU cannot be used with passed-through devices",
      certain: true,
      causes: [
        {
          cause:
            "this vIOMMU (amd-iommu in most releases, smmuv3 without accel=on) tells QEMU nothing of what the guest maps",
          cure: "virtio-iommu, or intel-iommu with caching-mode=on; or no vIOMMU for this device (bypass_iommu=on of its root bus)",
        },
      ],
    },
    {
      id: "qemu-aw-bits",
      pattern: /aw-bits (?<guest>\d+) > host aw-bits (?<host>\d+)/i,
      says: "the guest's vIOMMU has {guest} address bits, the host's IOMMU {host}",
      certain: true,
      causes: [
        {
          cause: "the guest could map addresses that the host's IOMMU does not translate",
          cure: "-device intel-iommu,aw-bits={host} (virtio-iommu: aw-bits={host})",
        },
      ],
    },
    {
      id: "qemu-page-mask",
      pattern:
        /virtio-iommu page mask (?<guest>0x[0-9a-f]+) (?:is incompatible with mask|does not match) (?<host>0x[0-9a-f]+)/i,
      says: "the pages of the guest's virtio-iommu do not go with the host's",
      certain: true,
      causes: [
        {
          cause:
            "the device was plugged after the guest has read the vIOMMU's page sizes, and the host has larger ones (64 KiB pages)",
          cure: "give the device to the guest from its start, or set the granule: -device virtio-iommu,granule=64k",
        },
      ],
    },
    {
      id: "qemu-bar-mmap",
      pattern: re(`Failed to mmap ${BDF} BAR (?<bar>\\d)\\. Performance may be slow`),
      says: "BAR {bar} cannot be mapped, so that each access of the guest goes through QEMU",
      causes: [
        BAR_CLAIMED,
        {
          cause:
            "an older kernel does not let programs map a BAR that has the MSI-X table in it (before Linux 4.16), or that shares a page with something else",
          cure: "a newer kernel; the guest works, slower",
        },
      ],
      capture: 'dmesg: a line "BAR N: can\'t reserve" makes it certain',
    },
    {
      id: "qemu-region-access",
      pattern: re(
        `vfio_region_(?:read|write)\\(${BDF}:region(?<region>\\d+)\\+(?<offset>0x[0-9a-f]+)[^)]*\\) failed: ?${ERR}`,
      ),
      says: "an access of the guest to region {region} at {offset} failed",
      call: "region-access",
    },
    {
      id: "qemu-rom-invalid",
      pattern: /Device option ROM contents are probably invalid|vfio-pci: Cannot read device rom at/i,
      says: "the device's option ROM cannot be read",
      causes: [
        {
          cause:
            "the ROM was used by the host's firmware at boot, which leaves a GPU's ROM unreadable; or the device has none",
          cure: "rombar=0 when the guest needs none; else romfile= with a copy of the ROM that was read while another GPU was the first one",
        },
        { ...BAR_CLAIMED },
      ],
    },
    {
      id: "qemu-rom-read",
      pattern: re(`vfio: Error (?:reading device ROM|getting ROM info): ?${ERR}`),
      says: "the device's option ROM cannot be read",
      causes: [
        { cause: "the device has no ROM, or it sleeps or is claimed by the host", cure: "rombar=0, or romfile=FILE" },
      ],
    },
    {
      id: "stuck-in-d",
      pattern: /vfio: Unable to power on device, stuck in D(?<state>\d)/i,
      says: "the device does not wake up from D{state}",
      causes: [
        {
          cause:
            "the device does not answer: its config space reads as all ones, so that its power state reads as 3. It hung in an earlier guest or in a reset, or lost its power (D3cold)",
          cure: "boot the host from power off; then keep it awake: options vfio-pci disable_idle_d3=1, echo 0 > /sys/bus/pci/devices/BDF/d3cold_allowed; for AMD GPUs without a working reset: vendor-reset",
          tell: "lspci -xxx -s BDF: ff everywhere",
          saidBy: ["power-state", "not-ready"],
        },
      ],
    },
    {
      id: "qemu-reset-none",
      pattern: re(`vfio: Cannot reset device ${BDF}, no available reset mechanism`),
      says: "the device has no way to be reset that this process may use",
      call: "reset",
      errno: "ENOTTY",
    },
    {
      id: "qemu-reset-depends",
      pattern: re(`vfio: Cannot reset device ${BDF}, depends on group (?<other>\\d+) which is not owned`),
      says: "the device can be reset only together with group {other}, which the guest does not have",
      certain: true,
      causes: [
        {
          cause: "other devices are on the same bus, and the only reset is the bus's",
          cure: "give the guest the devices of group {other} as well, or live without a reset: the guest may then have to be started after a boot of the host",
        },
      ],
    },
    {
      id: "qemu-hot-reset-info",
      pattern: re(`vfio: hot reset info failed: ?${ERR}`),
      says: "which devices would be reset together cannot be found out",
      call: "hot-reset",
    },
    {
      id: "qemu-set-irqs",
      pattern: re(`VFIO_DEVICE_SET_IRQS failure(?:: ?${ERR})?`),
      says: "an interrupt of the device was not set up",
      call: "set-irqs",
    },
    {
      id: "qemu-msi",
      pattern: re(
        `vfio: Error: Failed to (?:enable MSI|setup MSI fds|enable (?<vectors>\\d+) MSI vectors)(?:: ?${ERR})?`,
      ),
      says: "the device's MSI vectors were not set up",
      call: "set-irqs",
      errno: "EINVAL",
    },
    {
      id: "qemu-err-handler",
      pattern: re(`vfio_err_notifier_handler\\(${BDF}\\) Unrecoverable error detected`),
      says: "the device reported an uncorrectable PCI Express error (AER), and QEMU stopped the guest",
      causes: [
        {
          cause:
            "the card, its slot or its cable has an error, or the guest's driver made the device access what it may not",
          cure: "look at the AER lines of the kernel's log, which say which error it was; seat the card anew, newer firmware, PCI Express generation one lower in the firmware",
          saidBy: ["aer"],
        },
      ],
      capture: "dmesg | grep -i aer",
    },
    {
      id: "qemu-error-recovery",
      pattern: /Could not enable error recovery for the device/i,
      kind: "harmless",
      says: "the device reports no uncorrectable errors (no AER), or its kernel does not pass them on; the guest runs",
    },
    {
      id: "qemu-kvm-group",
      pattern: re(`Failed to (?:add|remove|del) (?:group \\d+|fd \\d+) (?:to|from) KVM VFIO device: ?${ERR}`),
      says: "KVM was not told of the group",
      causes: [
        {
          cause:
            "the module kvm has no VFIO device (CONFIG_KVM_VFIO), or seccomp or a security module refuses the call; interrupts and caching may be wrong for devices that do not snoop",
          cure: "a kernel with CONFIG_KVM_VFIO",
        },
      ],
    },
    {
      id: "qemu-vga",
      pattern: /device does not support requested feature x-vga|failed getting region info for VGA region/i,
      says: "the device has no VGA of the old kind for the guest",
      causes: [
        {
          cause:
            "x-vga=on is asked for a device that is no VGA controller, or vfio-pci has no VGA access (CONFIG_VFIO_PCI_VGA, or disable_vga=1)",
          cure: "leave out x-vga=on: with UEFI firmware (OVMF) no guest needs it",
        },
      ],
    },
    {
      id: "qemu-igd-legacy",
      pattern:
        /IGD device \S+ (?:is unsupported|cannot support|failed to|hotplugged|has no ROM)[^,;]*(?:legacy mode)?|legacy mode (?:disabled|requires)|Unsupported IGD GMS value/i,
      says: "the integrated GPU is not passed through in legacy mode",
      causes: [
        {
          cause:
            "legacy mode wants a pc (i440fx) machine with SeaBIOS, the GPU at guest address 02.0, nothing at 1f.0, and a GPU that QEMU knows",
          cure: "for a newer GPU use UEFI with its own option ROM and x-igd-opregion=on, and another display for the firmware",
        },
      ],
    },
    {
      id: "qemu-igd-gtt",
      pattern: /Guest attempted to program IGD GTT before BIOS reserved stolen memory/i,
      says: "the guest's firmware did not reserve the integrated GPU's stolen memory",
      causes: [
        {
          cause: "the guest's firmware does not know assigned integrated GPUs",
          cure: "SeaBIOS with a pc machine in legacy mode; or x-igd-gms=0 with UEFI",
        },
      ],
    },
    {
      id: "qemu-config-read",
      pattern: re(
        `(?:Failed to read device config space|vfio_pci_(?:read|write)_config\\(${BDF}[^)]*\\) failed)(?:: ?${ERR})?`,
      ),
      says: "the device's config space cannot be read or written",
      causes: [
        {
          cause: "the device does not answer: it is gone, hung, or sleeps in D3cold",
          cure: "lspci -xxx -s BDF; boot the host from power off when it is ff everywhere",
          saidBy: ["power-state", "not-ready", "stuck-in-d"],
        },
      ],
    },
    {
      id: "qemu-capability",
      pattern: /failed to add PCI capability (?<cap>0x[0-9a-f]+)\[[^\]]*\]@0x[0-9a-f]+: (?<why>.{0,100})/i,
      says: "QEMU cannot show the device's capability {cap} to the guest",
      causes: [
        {
          cause:
            "the device's config space is not what the standard says ({why}); often it reads as garbage since the device hung",
          cure: "lspci -xxx -s BDF on the host; boot the host from power off; x-msix-relocation=bar2 where only the MSI-X table is misplaced",
        },
      ],
    },
    {
      id: "qemu-migration",
      pattern:
        /VFIO device doesn't support migration|VFIO migration is not supported in kernel|(?:0000:\S+: )?Migration is not supported (?:for|with|in) (?:VFIO|vfio)\b/i,
      says: "a guest with this device cannot be migrated",
      certain: true,
      causes: [
        {
          cause:
            "the device's VFIO driver cannot save its state: vfio-pci never can, drivers of a vendor may (mlx5, hisi_acc, pds, qat, virtio)",
          cure: "bind the device to its vendor's VFIO driver, or unplug it before the migration (failover with a virtio NIC)",
        },
      ],
    },
    {
      id: "qemu-dirty",
      pattern: re(
        `Failed to (?:get dirty bitmap|set dirty tracking flag|start DMA logging|query dirty)[^:]*:? ?(?:${ERR})?`,
      ),
      says: "which pages the device wrote cannot be found out, so that the migration fails",
      causes: [
        {
          cause: "the kernel or the device stopped tracking; a bitmap was too large, or what was mapped changed",
          cure: "try again; a newer kernel and QEMU",
        },
      ],
    },
    {
      id: "qemu-nvme-map",
      pattern: re(`qemu_vfio_dma_map\\(\\S+, (?<bytes>\\d+)\\) failed: ?${ERR}`),
      says: "QEMU's own NVMe driver did not map memory",
      call: "map",
    },
    {
      id: "qemu-group-status",
      pattern: re(
        `(?:error getting group status|Failed to get VFIO group status|failed to get group \\d+ status): ?${ERR}`,
      ),
      says: "the group's state cannot be asked for",
      causes: [
        {
          cause: "the group is gone (its last device was unbound), or the descriptor is another one",
          cure: "bind the device to vfio-pci again",
        },
      ],
    },
    {
      id: "qemu-no-bus",
      pattern: /No '?PCI'? bus found for device '?vfio-pci/i,
      says: "the guest's machine has no PCI bus for the device",
      certain: true,
      causes: [
        {
          cause: "the machine type (microvm, or one without PCI) or the bus that was named does not have it",
          cure: "a machine with PCI (q35, virt), microvm with pcie=on, or the right bus=",
        },
      ],
    },
    {
      id: "qemu-hw-error",
      pattern:
        /hardware error: vfio: (?:DMA mapping|Memory registering) failed, unable to continue|vfio: DMA mapping failed, unable to continue/i,
      kind: "consequence",
      says: "QEMU ends because a range of the guest was not mapped",
    },
    {
      id: "qemu-setup-container",
      pattern: re(
        `failed to setup container for group (?<group>\\d+)(?:: (?!memory listener|failed to set iommu|failed to set group)${ERR})?`,
      ),
      kind: "consequence",
      says: "the group's container could not be set up",
    },
    {
      id: "qemu-memory-listener",
      pattern: /memory listener initialization failed/i,
      kind: "consequence",
      says: "the guest's memory could not be mapped for the device",
    },
    {
      id: "qemu-get-group",
      pattern: /failed to get group (?<group>\d+)\b/i,
      kind: "consequence",
      says: "the device's group could not be used",
    },
    {
      id: "qemu-device-init",
      pattern: /-device vfio-pci\S*: Device (?:initialization failed|'vfio-pci' could not be initialized)/i,
      kind: "consequence",
      says: "the device could not be given to the guest",
    },
  ],
};
