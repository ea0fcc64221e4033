import { NOT_VIABLE_CAUSE } from "../causes/attach.ts";
import { MEMLOCK } from "../causes/map.ts";
import type { RuleSet } from "../rule.ts";
import { BDF, re } from "./pattern.ts";

const ERROR = "error:? (?<errno>-?\\d+)(?: \\((?<words>[^)]*)\\))?";

/** DPDK: lib/eal/linux/eal_vfio.c, drivers/bus/pci; with VPP, Open vSwitch, SPDK and others that stand on it. */
export const DPDK: RuleSet = {
  program: "DPDK",
  rules: [
    {
      id: "not-viable-dpdk",
      ask: "set-container",
      pattern: re(`(?:${BDF}\\s+)?VFIO group is not viable`),
      says: "the group cannot be given to the program as it is",
      certain: true,
      causes: [NOT_VIABLE_CAUSE],
    },
    {
      id: "dpdk-map-user",
      pattern:
        /Couldn't map user memory for DMA: va: (?<va>0x[0-9a-f]+) iova: (?<iova>0x[0-9a-f]+) len: (?<size>0x[0-9a-f]+|\d+)/i,
      says: "memory that the program registered at {iova} was not mapped",
      call: "map",
      errno: "EINVAL",
    },
    {
      id: "dpdk-map",
      pattern: re(`Cannot (?:set up DMA remapping|map vaddr for IOMMU|register vaddr for IOMMU), ${ERROR}`),
      says: "memory of the program was not mapped for DMA",
      call: "map",
    },
    {
      id: "dpdk-map-device",
      pattern: re(`(?:${BDF}\\s+)DMA remapping failed, ${ERROR}`),
      says: "memory of the program was not mapped for the device",
      call: "map",
    },
    {
      id: "dpdk-unmap",
      pattern: re(`Cannot (?:clear DMA remapping|unmap vaddr for IOMMU|unregister vaddr for IOMMU), ${ERROR}`),
      says: "memory of the program was not unmapped",
      call: "unmap",
    },
    {
      id: "dpdk-unmap-size",
      pattern: /Unexpected size (?<got>\d+) of DMA remapping cleared instead of (?<want>\d+)/i,
      says: "{got} bytes were unmapped, {want} were asked for",
      certain: true,
      causes: [
        {
          cause: "type1 unmaps whole mappings only: what was mapped as one piece cannot be unmapped in part",
          cure: "--match-allocations, and free memory as it was allocated",
        },
      ],
    },
    {
      id: "dpdk-window",
      pattern: /DMA map attempt outside DMA window|Cannot create new DMA window/i,
      says: "POWER: the memory does not fit the DMA window",
      causes: [
        {
          cause: "the window is as large as the memory that was found, and its number of pages is limited",
          cure: "larger huge pages; --iova-mode=va with a lower base (--base-virtaddr)",
        },
      ],
    },
    {
      id: "dpdk-open-container",
      pattern: re(`cannot open VFIO container(?: \\S+)?, ${ERROR}`),
      says: "/dev/vfio/vfio cannot be opened",
      call: "open-container",
    },
    {
      id: "dpdk-open-group",
      pattern: re("Cannot open '?/dev/vfio/(?:noiommu-)?(?<group>\\d+)'?: (?<errno>[A-Z][\\w ]+)"),
      says: "/dev/vfio/{group} cannot be opened",
      call: "open-group",
    },
    {
      id: "dpdk-no-extensions",
      pattern: /no supported IOMMU extensions found/i,
      says: "the container offers no type of IOMMU that DPDK knows",
      call: "set-iommu",
      errno: "ENODEV",
    },
    {
      id: "dpdk-select-iommu",
      ask: "set-iommu",
      pattern: re(`(?:${BDF}\\s+)?failed to select IOMMU type`),
      says: "the container did not get its IOMMU",
      causes: [
        {
          cause:
            "the IOMMU cannot be used for the device: no interrupt remapping, memory that firmware uses (RMRR), or none at all",
          cure: "look at the kernel's log at that time, which says which of them; --log-level=eal:debug shows the errno",
          saidBy: ["no-interrupt-remapping", "rmrr-ineligible", "one-to-one-mapping"],
        },
      ],
      capture: "dmesg | tail; the same with --log-level=eal:debug",
    },
    {
      id: "dpdk-set-container",
      pattern: re(`(?:${BDF}\\s+)?cannot add VFIO group to container, ${ERROR}`),
      says: "the group did not get into the container",
      call: "set-container",
    },
    {
      id: "dpdk-group-status",
      pattern: re(`(?:${BDF}\\s+)?cannot get (?:VFIO )?group status, ${ERROR}`),
      says: "the group's state cannot be asked for",
      causes: [
        { cause: "the group has gone, or is used through another node", cure: "bind the device to vfio-pci again" },
      ],
    },
    {
      id: "dpdk-device-fd",
      ask: "device-fd",
      pattern: re(`Getting a vfio_dev_fd for ${BDF} failed(?:[:,]? ?(?<errno>.+))?`),
      says: "the group does not give the device away",
      causes: [
        {
          cause:
            "the device is a virtual function whose physical function is bound to vfio-pci, and no VF token was given, or a wrong one",
          cure: "--vfio-vf-token=UUID, the same one as the owner of the physical function",
          saidBy: ["vf-token"],
        },
        {
          cause: "the device is open already (another program, or another instance of this one)",
          cure: "fuser -v /dev/vfio/N",
        },
        {
          cause: "the device does not wake up, or does not answer",
          cure: "dmesg | tail; boot from power off",
          saidBy: ["power-state", "not-ready"],
        },
      ],
      capture: "dmesg | tail: vfio-pci says why there",
    },
    {
      id: "dpdk-device-info",
      pattern: re(`(?:${BDF}\\s+)?cannot get device (?:region )?info,? ${ERROR}`),
      says: "the device does not say what it has",
      call: "device-info",
    },
    {
      id: "dpdk-iommu-group",
      ask: "open-group",
      pattern: re(`(?:${BDF}\\s+)?cannot get IOMMU group`),
      says: "the device has no IOMMU group",
      causes: [
        {
          cause: "the IOMMU is off, and no-IOMMU mode too",
          cure: "switch it on (VT-d or AMD-Vi in the firmware, intel_iommu=on); or echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode and bind the device again",
        },
      ],
    },
    {
      id: "dpdk-not-managed",
      pattern: re(`(?:${BDF}\\s+)?not managed by (?:VFIO driver|a supported kernel driver|UIO driver)(?:, skipp\\w+)?`),
      kind: "harmless",
      says: "the device is bound to another driver, and DPDK leaves it alone: bind it to vfio-pci if it is to be used",
    },
    {
      id: "dpdk-init",
      pattern: /VFIO support could not be initialized/i,
      kind: "consequence",
      says: "DPDK goes on without VFIO: devices bound to vfio-pci are not found",
    },
    {
      id: "dpdk-not-initialized",
      pattern: /VFIO support (?:is )?not initialized|Could not get IOMMU type for default container/i,
      says: "memory was to be mapped before DPDK had a device of VFIO's",
      causes: [
        {
          cause:
            "no device bound to vfio-pci was found (none was given, or each failed), so that there is no container to map into",
          cure: "nothing, when the program uses no such device; else see why the devices failed, or were not found (dpdk-devbind.py --status)",
        },
      ],
    },
    {
      id: "dpdk-map-region",
      pattern: /Couldn't map new region for DMA|Failed to map DMA\b/i,
      kind: "consequence",
      says: "external memory was not mapped",
    },
    {
      id: "dpdk-open-group-failed",
      pattern: /Failed to open (?:VFIO )?group (?<group>\d+)/i,
      kind: "consequence",
      says: "the group's node could not be opened",
    },
    {
      id: "dpdk-modules",
      pattern:
        /VFIO modules not (?:all )?loaded, skipping VFIO support|VFIO directory does not exist, skipping VFIO support|VFIO PCI modules not loaded/i,
      says: "DPDK finds no VFIO",
      certain: true,
      causes: [
        {
          cause:
            "vfio-pci is not loaded, or /sys/module/vfio_pci or /dev/vfio is not seen from the container that it runs in",
          cure: "modprobe vfio-pci before the program; in a container mount /sys read-only and give it /dev/vfio",
        },
      ],
    },
    {
      id: "dpdk-max-groups",
      pattern: /Maximum number of VFIO groups reached/i,
      says: "DPDK has no room for another group",
      certain: true,
      causes: [
        {
          cause: "as many groups as this build of DPDK knows (RTE_MAX_VFIO_GROUPS, 64 by default) are open",
          cure: "fewer devices, or a build with a larger RTE_MAX_VFIO_GROUPS",
        },
      ],
    },
    {
      id: "dpdk-noiommu-file",
      pattern: re(`cannot open VFIO noiommu file (?<errno>\\d+)`),
      kind: "harmless",
      says: "the kernel has no no-IOMMU mode (CONFIG_VFIO_NOIOMMU); that matters only without an IOMMU",
    },
    {
      id: "dpdk-iova-mode",
      pattern:
        /Expecting '(?<want>\w+)' IOVA mode but current mode is '(?<have>\w+)', not initializing|FATAL: Cannot use IOVA as 'PA' since physical addresses are not available/i,
      says: "the device needs addresses of another kind than the program has chosen",
      certain: true,
      causes: [
        {
          cause:
            "devices without an IOMMU want physical addresses (PA), for which the program must read /proc/self/pagemap; with an IOMMU it is virtual ones (VA)",
          cure: "--iova-mode=va with vfio-pci and an IOMMU; without one run as root (or with CAP_SYS_ADMIN) and --iova-mode=pa",
        },
      ],
    },
    {
      id: "dpdk-va-unsupported",
      pattern: /Some devices want 'VA' but IOMMU does not support 'VA'/i,
      says: "the IOMMU has too few address bits for virtual addresses",
      certain: true,
      causes: [
        {
          cause:
            "an IOMMU with 39 bits (guests of QEMU's intel-iommu by default) cannot map the program's addresses as they are",
          cure: "aw-bits=48 for the vIOMMU, or --iova-mode=pa, or a --base-virtaddr below 512 GiB",
        },
      ],
    },
    {
      id: "dpdk-dma-mask",
      pattern:
        /IOVA exceeding limits of current DMA mask|wrong dma mask size|(?:memseg|memory) .*not (?:within|in) (?:the )?DMA mask/i,
      says: "memory lies where the device or the IOMMU cannot address it",
      certain: true,
      causes: [
        {
          cause: "the program's virtual addresses are used as IOVAs, and have more bits than the IOMMU translates",
          cure: "--iova-mode=pa, or --base-virtaddr=0x100000000 and the like; aw-bits=48 for a vIOMMU",
        },
      ],
    },
    {
      id: "dpdk-reset",
      pattern: re("Unable to reset device! Error: (?<errno>\\d+)"),
      says: "the device was not reset when it was opened",
      call: "reset",
    },
    {
      id: "dpdk-map-bar",
      pattern: /Failed to map pci BAR(?<bar>\d)/i,
      says: "BAR {bar} of the device cannot be mapped",
      causes: [
        {
          cause:
            "memory decoding is off, somebody else has the BAR, or the address range in a secondary process is taken",
          cure: "--base-virtaddr for secondary processes; grep -A3 BDF /proc/iomem",
        },
      ],
    },
    {
      id: "dpdk-interrupts",
      pattern: re(
        `(?:Cannot get VFIO IRQ info, ${ERROR}|Error (?:enabling|disabling) (?:MSI-X|MSI|INTX|req) interrupts for fd \\d+(?:, ${ERROR})?|Error setting up interrupts)`,
      ),
      says: "interrupts of the device were not set up",
      call: "set-irqs",
    },
    {
      id: "dpdk-attach",
      pattern: re(
        `Driver cannot attach the device \\(${BDF}\\)|Requested device ${BDF} cannot be used|Failed to attach device on primary process|Cannot find device \\(${BDF}\\)`,
      ),
      kind: "consequence",
      says: "the device cannot be used; why stands before it, or the device is not bound to vfio-pci",
    },
    {
      id: "memlock-small",
      pattern: /memlock limit: (?<limit>\d+) MB|memlock limit is less than 64MB/i,
      says: "the user's limit of locked memory is {limit} MB, and no more can be mapped for devices",
      causes: [MEMLOCK],
    },
    {
      id: "spdk-map",
      pattern: re(
        "(?:Cannot set up DMA mapping|Cannot update DMA mapping), error (?<errno>\\d+)(?! *, ignored|, ignored)",
      ),
      says: "SPDK did not map memory for devices",
      call: "map",
    },
    {
      id: "spdk-map-ignored",
      pattern: /Cannot (?:set up|clear) DMA mapping, error (?<errno>\d+) ?, ignored/i,
      kind: "harmless",
      says: "SPDK found the memory mapped (17, EEXIST) or unmapped already, and goes on",
    },
    {
      id: "spdk-unmap",
      pattern: re("Cannot (?:clear DMA mapping|unmap DMA memory)[^,]*, error (?<errno>\\d+)"),
      says: "SPDK did not unmap memory",
      call: "unmap",
    },
    {
      id: "spdk-register",
      pattern:
        /(?:spdk_mem_register|vtophys_iommu_map_dma|Failed to (?:map|register) (?:memory )?region)[^\n]{0,80}(?:failed|Failed|error)/,
      kind: "consequence",
      says: "SPDK did not register memory",
    },
    {
      id: "dpdk-map-generic",
      pattern: re(
        "(?:Failed to MAP DMA memory|dma_map failed|VFIO_IOMMU_MAP_DMA (?:ioctl )?failed)[: ]+(?<errno>[A-Z][\\w ]+)",
      ),
      says: "memory was not mapped for DMA",
      call: "map",
    },
  ],
};
