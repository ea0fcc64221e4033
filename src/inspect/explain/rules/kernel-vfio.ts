import { FIRMWARE_CAUSE, REMAPPING_CAUSE } from "../causes/attach.ts";
import { BAR_CLAIMED } from "../causes/device.ts";
import { MEMLOCK } from "../causes/map.ts";
import type { RuleSet } from "../rule.ts";
import { BDF, re } from "./pattern.ts";

/** The kernel's drivers/vfio and what drivers/pci says of its devices. */
export const KERNEL_VFIO: RuleSet = {
  program: "the kernel (vfio)",
  rules: [
    {
      id: "memlock-exceeded",
      pattern: /(?<where>vfio_\w+)?:?[^\n]{0,60}RLIMIT_MEMLOCK \((?<limit>\d+)\) exceeded/i,
      says: "a process wanted to lock more memory for devices than its limit of {limit} bytes",
      certain: true,
      causes: [MEMLOCK],
    },
    {
      id: "no-interrupt-remapping",
      ask: "set-iommu",
      pattern: /No interrupt remapping (?:support|for device)|Use the module param "allow_unsafe_interrupts"/i,
      says: "type1 refuses the group because its IOMMU does not remap interrupts",
      certain: true,
      causes: [REMAPPING_CAUSE],
    },
    {
      id: "rmrr-ineligible",
      ask: "set-iommu",
      pattern: re(
        `(?:${BDF}: )?(?:DMAR: )?Device is ineligible for IOMMU domain attach due to platform RMRR requirement`,
      ),
      says: "the kernel gives the device to nobody, because firmware uses memory through it (an RMRR of the DMAR table)",
      certain: true,
      causes: [FIRMWARE_CAUSE],
    },
    {
      id: "one-to-one-mapping",
      ask: "set-iommu",
      pattern: re(`(?:${BDF}: )?Firmware has requested this device have a 1:1 IOMMU mapping`),
      says: "the kernel gives the device to nobody, because firmware wants memory mapped 1:1 for it",
      certain: true,
      causes: [FIRMWARE_CAUSE],
    },
    {
      id: "vf-token",
      pattern: re(
        `(?:${BDF}: )?(?:(?<which>Incorrect VF token provided for device|VF token required to access device|VF token incorrectly provided, [\\w ,-]+)|No VF token|Incorrect VF token)`,
      ),
      says: "the opening of the device was refused for its VF token",
      certain: true,
      causes: [
        {
          cause:
            "a virtual function whose physical function is bound to vfio-pci is opened with the token that the physical function's owner set, and only then",
          cure: "QEMU vf-token=UUID, DPDK --vfio-vf-token=UUID, with the same UUID on both sides; leave it out where the physical function has its own driver",
        },
      ],
    },
    {
      id: "bar-cannot-reserve",
      pattern: re(`(?:vfio-pci )?${BDF}: BAR (?<bar>\\d)(?: \\[[^\\]]*\\])?: can't reserve (?<range>\\[[^\\]]*\\])?`),
      says: "vfio-pci cannot have BAR {bar} of the device for itself: the guest's accesses to it fail",
      certain: true,
      causes: [BAR_CLAIMED],
    },
    {
      id: "resource-sanity",
      pattern:
        /resource sanity check: requesting \[mem (?<start>0x[0-9a-f]+)-(?<last>0x[0-9a-f]+)\], which spans more than (?<who>.*)/i,
      says: "a BAR is claimed in part by {who}",
      causes: [BAR_CLAIMED],
    },
    {
      id: "power-state",
      pattern: re(
        `${BDF}: (?:Unable to change power state from (?<from>\\w+) to (?<to>\\w+)(?:, device inaccessible)?|Refused to change power state(?:, currently in (?<now>\\w+)| from (?<from2>\\w+) to (?<to2>\\w+))?)`,
      ),
      says: "the device does not wake up",
      certain: true,
      causes: [
        {
          cause:
            "its config space does not answer (all ones): it lost its power or its link (D3cold, a slot or a bridge that is off), or it hung in an earlier guest",
          cure: "boot the host from power off; then options vfio-pci disable_idle_d3=1, echo 0 > /sys/bus/pci/devices/BDF/d3cold_allowed, and power/control = on for the port above it",
          tell: "lspci -xxx -s BDF: ff everywhere",
        },
      ],
    },
    {
      id: "not-ready",
      pattern: re(`${BDF}: not ready (?<ms>\\d+)ms after (?<what>[\\w ]+?); (?<then>giving up|waiting)`),
      says: "the device did not come back after {what} within {ms} ms",
      causes: [
        {
          cause: "its reset hung (GPUs of AMD before RDNA 3 and some NVMe disks are known for it), or it has no power",
          cure: "boot the host from power off; vendor-reset for AMD GPUs; another reset: echo bus > /sys/bus/pci/devices/BDF/reset_method",
          saidBy: ["power-state"],
        },
      ],
    },
    {
      id: "pending-transaction",
      pattern: re(`${BDF}: (?:timed out waiting for pending transaction|Failed to return from FLR)`),
      says: "the device was reset while it still had transactions under way",
      causes: [
        {
          cause: "the guest was ended while the device was busy, or the device hangs",
          cure: "nothing, when it works afterwards; else boot the host from power off",
          saidBy: ["power-state", "not-ready"],
        },
      ],
    },
    {
      id: "reset-recovery",
      pattern: re(`(?:${BDF}: )?(?:vfio_bar_restore: )?reset recovery - restoring BARs`),
      says: "the device was reset behind vfio-pci's back, which gave it its BARs again",
      causes: [
        {
          cause: "the device resets itself or is reset through its bridge while a guest has it: GPUs that crash do so",
          cure: "look at what comes before; in a guest that works afterwards nothing is to be done; again and again: the guest's driver, firmware of the card, its power",
          saidBy: ["power-state", "not-ready", "aer"],
        },
      ],
    },
    {
      id: "invalid-rom",
      pattern: re(
        `${BDF}: Invalid PCI ROM (?:header|data) signature: expecting (?<want>0x[0-9a-f]+), got (?<got>0x[0-9a-f]+)`,
      ),
      says: "the device's option ROM reads as {got} and not as a ROM",
      causes: [
        {
          cause: "the host's firmware used it at boot, or the device sleeps or has none",
          cure: "rombar=0, or romfile= with a copy; for a GPU with which the machine boots, boot with another one",
        },
      ],
    },
    {
      id: "request-channel",
      pattern: re(`(?:${BDF}: )?No device request channel registered, blocked until released by user`),
      says: "somebody wants the device back (unbind, unplug, virtual functions off), and its user did not ask to be told",
      certain: true,
      causes: [
        {
          cause: "a process has the device open, and the unbind waits until it closes it",
          cure: "end that process: fuser -v /dev/vfio/N; a program of your own sets up the REQ interrupt",
        },
      ],
    },
    {
      id: "relaying-request",
      pattern: re(`(?:${BDF}: )?Relaying device request to user \\(#(?<count>\\d+)\\)`),
      says: "somebody wants the device back, and its user was asked for it ({count} times before)",
      certain: true,
      causes: [
        {
          cause: "the device was unbound or unplugged on the host while a guest has it",
          cure: "take it from the guest (device_del, virsh detach-device), or end the guest; the unbind goes on then",
        },
      ],
    },
    {
      id: "device-in-use-task",
      pattern: re(
        `(?:${BDF}: )?Device is currently in use, task "(?<task>[^"]*)" \\((?<pid>\\d+)\\) blocked until device is released`,
      ),
      says: "{task} ({pid}) waits for the device, which a process has open",
      certain: true,
      causes: [
        {
          cause: "the device is unbound while a guest or another program has it",
          cure: "end that program: fuser -v /dev/vfio/N",
        },
      ],
    },
    {
      id: "probe-failed",
      pattern: re(
        `(?:vfio-pci: probe of ${BDF} failed with error|vfio-pci ${BDF}: probe with driver vfio-pci failed with error|vfio_pci: probe of ${BDF} failed with error) (?<errno>-\\d+)`,
      ),
      says: "vfio-pci did not take the device",
      call: "bind-driver",
    },
    {
      id: "pf-with-vfs",
      pattern: re(`(?:${BDF}: )?Cannot bind to PF with SR-IOV enabled`),
      says: "vfio-pci does not take a physical function that has virtual functions",
      certain: true,
      causes: [
        {
          cause: "its virtual functions are there",
          cure: "echo 0 > /sys/bus/pci/devices/BDF/sriov_numvfs first, and make them again afterwards (enable_sriov=1 of vfio-pci)",
        },
      ],
    },
    {
      id: "vf-bound",
      pattern: /VF (?<vf>\S+) bound to driver (?<driver>\S+) while PF bound to driver (?<pf>\S+)/i,
      says: "the host's driver {driver} has a virtual function whose physical function belongs to a program",
      certain: true,
      causes: [
        {
          cause: "the program with the physical function could do to the host what it likes through {vf}",
          cure: "bind {vf} to vfio-pci (vfio-pci.ids, driver_override) before the host's driver takes it",
        },
      ],
    },
    {
      id: "denylist",
      pattern: /(?<id>[0-9a-f]{4}:[0-9a-f]{4}) exists in vfio-pci device denylist, driver probing disallowed/i,
      says: "vfio-pci does not take devices {id}: they are known to endanger the host",
      certain: true,
      causes: [
        {
          cause: "the kernel's list names the device (Intel QAT, for one)",
          cure: "disable_denylist=1 of vfio-pci where its user is trusted; or virtual functions of it",
        },
      ],
    },
    {
      id: "irq-flags-mismatch",
      pattern:
        /Flags mismatch irq (?<irq>\d+)\. [0-9a-f]+ \((?<first>vfio-intx\([^)]*\)|[^)]*)\) vs\. [0-9a-f]+ \((?<second>[^)]*)\)/i,
      says: "interrupt line {irq} is used by {second}, and {first} wants it alone",
      certain: true,
      causes: [
        {
          cause: "the device cannot mask its INTx by itself, so that vfio-pci does not share its line",
          cure: "unbind or switch off {second}, move the card to another slot, or let the guest's driver use MSI",
        },
      ],
    },
    {
      id: "intx-mask",
      pattern: re(`(?:${BDF}: )?(?:Masking broken INTx support|Hardware bug: VF reports bogus INTx pin)`),
      kind: "harmless",
      says: "the device's INTx does not work as it should, and vfio-pci takes care of it",
    },
    {
      id: "hiding-capability",
      pattern: re(`(?:${BDF}: )?(?:vfio_e?cap_init: )?(?:hiding e?cap|unknown length for PCI e?cap)`),
      kind: "harmless",
      says: "vfio-pci does not show a capability of the device to the guest; that is always so for some",
    },
    {
      id: "config-conflict",
      pattern: re(`(?:${BDF}: )?(?:vfio_e?cap_init: )?PCI config conflict @`),
      kind: "harmless",
      says: "two capabilities of the device overlap in its config space, and the guest sees the first",
    },
    {
      id: "noiommu-open",
      pattern: /vfio-noiommu device opened by user \((?<program>.*):(?<pid>\d+)\)/i,
      kind: "harmless",
      says: "{program} ({pid}) uses a device without an IOMMU: it can write to all of the host's memory",
    },
    {
      id: "noiommu-taint",
      pattern: /Adding kernel taint for vfio-noiommu group/i,
      kind: "harmless",
      says: "a device is used without an IOMMU, which the kernel notes (taint)",
    },
    {
      id: "igd-setup",
      pattern: re(`(?:${BDF}: )?Failed to setup Intel IGD regions`),
      says: "the integrated GPU's own regions (OpRegion, host and LPC bridge) are not there for the guest",
      causes: [
        {
          cause: "firmware gives no OpRegion, or the host bridge is not what the kernel looks for",
          cure: "boot the host with the integrated GPU switched on as an Intel display in the firmware; leave out x-igd-opregion=on",
        },
      ],
    },
    {
      id: "saved-state",
      pattern: re(`(?:${BDF}: )?(?:vfio_pci_core_\\w+: |\\w+: )?Couldn't (?:store|reload) saved state`),
      says: "the device's config space could not be kept over its use by a guest",
      causes: [
        {
          cause: "the device does not answer",
          cure: "lspci -xxx -s BDF; boot from power off",
          saidBy: ["power-state", "not-ready"],
        },
      ],
    },
    {
      id: "runtime-resume",
      pattern: /vfio: runtime resume failed (?<errno>-\d+)/i,
      says: "the device, or the bridge above it, does not wake up",
      causes: [
        {
          cause: "a sleeping bridge or device does not answer",
          cure: "disable_idle_d3=1 of vfio-pci; power/control = on for the port above it",
          saidBy: ["power-state"],
        },
      ],
    },
    {
      id: "aer",
      pattern: re(
        `${BDF}: (?:AER: )?(?:PCIe Bus Error: severity=(?<severity>[^,]+), type=(?<type>[^,]+)|AER: (?:Multiple )?(?<what>Uncorrect\\w+(?: \\([\\w-]+\\))?) error)`,
      ),
      says: "the device or a port above it reports a PCI Express error ({severity}{what} {type})",
      causes: [
        {
          cause:
            "corrected errors are a poor link; uncorrected ones end the guest's device: a bad seat, riser, cable or power, or a driver that makes the device access what it may not",
          cure: "seat the card anew, another slot or riser; PCI Express generation one lower, ASPM off (pcie_aspm=off)",
        },
      ],
    },
    {
      id: "no-bus-reset",
      pattern: re(
        `${BDF}: (?:enabling device \\([0-9a-f]+ -> [0-9a-f]+\\)|vgaarb: .*|resetting|reset done|BAR \\d: assigned to efifb)`,
      ),
      kind: "harmless",
      says: "what the kernel says when a device is opened, reset or closed",
    },
    {
      id: "apparmor-denied",
      pattern: /(?:apparmor="DENIED"|avc: +denied)[^\n]*(?<what>\/dev\/vfio\/?\S*|vfio|iommu)/i,
      says: "a security module refused access to {what}",
      certain: true,
      causes: [
        {
          cause: "the profile of the program does not have the node",
          cure: 'add it (AppArmor: /etc/apparmor.d/local/abstractions/libvirt-qemu with "/dev/vfio/* rw,"; SELinux: audit2allow, or the label vfio_device_t)',
        },
      ],
    },
  ],
};
