import { MEMLOCK } from "../causes/map.ts";
import type { Cause, RuleSet } from "../rule.ts";
import { BDF, re } from "./pattern.ts";

const IOMMU_OFF: Cause = {
  cause:
    "libvirt finds no IOMMU groups or no VFIO: the IOMMU is off in the firmware or the kernel, or vfio is not loaded",
  cure: "VT-d or AMD-Vi in the firmware; intel_iommu=on on the kernel's command line (AMD needs none); modprobe vfio-pci",
  tell: "virt-host-validate qemu; ls /sys/kernel/iommu_groups",
  saidBy: ["no-dmar", "iommu-disabled", "validate-iommu"],
};

/** libvirt (hypervisor/virhostdev.c, util/virpci.c, util/virprocess.c, qemu/), virt-manager and virt-host-validate. */
export const LIBVIRT: RuleSet = {
  program: "libvirt",
  rules: [
    {
      id: "libvirt-unsupported",
      pattern:
        /host doesn't support passthrough of host PCI devices|host doesn't support (?:VFIO|legacy) PCI passthrough|VFIO device assignment is currently not supported on this system/i,
      says: "libvirt gives no PCI device of this host to a guest",
      causes: [
        IOMMU_OFF,
        {
          cause: "libvirt runs in a container or pod that does not see /sys/kernel/iommu_groups or /dev/vfio/vfio",
          cure: "mount /sys read-only into it and give it /dev/vfio; in KubeVirt check that the node's vfio-pci is loaded before the pod starts",
          tell: "the same check outside of the container passes (virt-host-validate)",
        },
      ],
    },
    {
      id: "libvirt-backend",
      pattern: /pci backend driver '(?<driver>\w+)' is not supported/i,
      kind: "consequence",
      says: "libvirt finds no VFIO on this host ({driver} was wanted)",
    },
    {
      id: "validate-iommu",
      pattern:
        /(?:Checking for device assignment IOMMU support|Checking if IOMMU is enabled by kernel)\s*:\s*(?:WARN|FAIL)\s*(?:\((?<why>.*)\))?/i,
      says: "virt-host-validate finds no IOMMU that is on ({why})",
      causes: [
        IOMMU_OFF,
        {
          cause: "it runs in a pod or container that does not see /sys/firmware/acpi/tables",
          cure: "run it on the host itself",
        },
      ],
    },
    {
      id: "libvirt-in-use-domain",
      pattern: re(`PCI device ${BDF} is in use by driver (?<driver>\\S+), domain (?<domain>\\S+)`),
      says: "libvirt has given the device to {domain} already",
      certain: true,
      causes: [
        {
          cause: "the domain {domain} runs and has the device",
          cure: "shut that one down, or take the device out of one of both domains",
        },
      ],
    },
    {
      id: "libvirt-in-use",
      pattern: re(`PCI device ${BDF} is (?:already )?in use(?! by driver)`),
      says: "libvirt counts the device as given to a guest",
      causes: [
        {
          cause: "another domain has it, or a domain that ended badly has it still in libvirt's list",
          cure: "virsh list; virsh nodedev-reattach pci_DDDD_BB_DD_F; restart virtqemud (libvirtd) when no domain has it",
        },
      ],
    },
    {
      id: "libvirt-not-assignable",
      pattern: re(
        `PCI device ${BDF} is not assignable|Device ${BDF} is behind a switch lacking ACS and cannot be assigned`,
      ),
      says: "libvirt gives the device to no guest",
      causes: [
        {
          cause: "it is behind a switch without ACS, so that devices could reach each other past the IOMMU",
          cure: "another slot; libvirt's relaxed_acs_check = 1 in qemu.conf where guests are trusted",
          tell: "lspci -vv of the switch: ACSCtl",
        },
      ],
    },
    {
      id: "libvirt-endpoint",
      pattern: /Non-endpoint PCI devices cannot be assigned to guests|Only PCI endpoint devices can be reset/i,
      says: "the device is a bridge or a root port",
      certain: true,
      causes: [
        { cause: "bridges are never given to guests", cure: "give the devices behind it; the bridge keeps its driver" },
      ],
    },
    {
      id: "libvirt-must-detach",
      pattern: re(`Unmanaged PCI device ${BDF} must be manually detached from the host`),
      says: "the domain says managed='no', and the device is not bound to vfio-pci",
      certain: true,
      causes: [
        {
          cause: "with managed='no' somebody else binds it",
          cure: "virsh nodedev-detach pci_DDDD_BB_DD_F, or managed='yes'",
        },
      ],
    },
    {
      id: "libvirt-bind",
      pattern: re(
        `(?:Failed to bind PCI device '?${BDF}'? to (?<driver>[\\w-]+)|Failed to add driver '(?<driver>[^']*)' to driver_override\\s+interface of PCI device '${BDF}'|Failed to trigger a (?:re-?)?probe for PCI device '${BDF}')(?:: ?(?<errno>.+))?`,
      ),
      says: "the device was not bound to its driver",
      call: "bind-driver",
    },
    {
      id: "libvirt-unbind",
      pattern: re(`Failed to unbind PCI device '?${BDF}'? from (?<driver>[\\w-]+)(?:: ?(?<errno>.+))?`),
      says: "the host's driver {driver} did not let go of the device",
      causes: [
        {
          cause: "something of the host uses it (a mounted disk, a network interface, a display), or the driver hangs",
          cure: "stop what uses it first; reserve the device for vfio-pci from the boot on (vfio-pci.ids=VENDOR:DEVICE)",
        },
      ],
    },
    {
      id: "libvirt-reset",
      pattern: re(`(?:Unable|Failed) to reset PCI device:? ?${BDF}?(?:: (?:internal error: )?(?<why>.*))?`),
      says: "libvirt cannot reset the device ({why})",
      causes: [
        {
          cause:
            "the device has no reset of its own, and other devices on its bus are in use; or it does not answer any more",
          cure: "give the guest all devices of the bus; boot the host from power off when lspci -xxx shows ff everywhere (header type 127)",
        },
      ],
    },
    {
      id: "libvirt-header-type",
      pattern: /Unknown PCI header type '?(?<type>\d+)'?/i,
      says: "the device's config space does not say what it is (header type {type})",
      certain: true,
      causes: [
        {
          cause: "it reads as all ones: the device is gone, hung after an earlier guest, or sleeps in D3cold",
          cure: "boot the host from power off; then disable_idle_d3=1 of vfio-pci; for AMD GPUs vendor-reset",
        },
      ],
    },
    {
      id: "memlock-prlimit",
      pattern: /cannot limit locked memory of process (?<pid>\d+) to (?<bytes>\d+): (?<errno>.*?)(?:['"]|$)/i,
      says: "libvirt could not raise the limit of locked memory to {bytes} bytes",
      certain: true,
      causes: [
        {
          cause:
            "libvirt runs without CAP_SYS_RESOURCE (as a user, in a pod), and its own hard limit is lower than what the guest needs",
          cure: "raise the hard limit of the process that starts it (LimitMEMLOCK=, --ulimit memlock=-1), or give it CAP_SYS_RESOURCE; in KubeVirt a release whose limit counts each device, or memory that is not overcommitted (memoryOvercommit at most 100)",
          tell: "grep locked /proc/PID/limits of virtqemud or libvirtd",
        },
      ],
    },
    {
      id: "libvirt-memlock",
      pattern: /Unable to change max memlock limit|unable to set (?:RLIMIT_MEMLOCK|memlock)/i,
      says: "libvirt cannot set the limit of locked memory",
      causes: [MEMLOCK],
    },
    {
      id: "libvirt-no-device",
      pattern: re(
        `(?:Device ${BDF} not found: could not access|host pci device ${BDF} not found|Could not find PCI device|mediated device '(?<uuid>[0-9a-f-]{36})' not found)`,
      ),
      says: "the host has no such device",
      certain: true,
      causes: [
        {
          cause:
            "it is gone, has another address since the last boot, or (virtual function, mediated device) was not made",
          cure: "lspci -D; make virtual functions and mediated devices before the domain starts",
        },
      ],
    },
    {
      id: "libvirt-mdev-in-use",
      pattern: /mediated device (?<uuid>\S+) is in use by driver (?<driver>\S+), domain (?<domain>\S+)/i,
      says: "the mediated device belongs to {domain}",
      certain: true,
      causes: [
        { cause: "the domain {domain} runs and has it", cure: "shut that one down, or make another mediated device" },
      ],
    },
    {
      id: "libvirt-qemu-lacks",
      pattern: /VFIO (?:PCI|AP|CCW) device assignment is not supported by this version of QEMU/i,
      says: "QEMU has no vfio device",
      certain: true,
      causes: [
        {
          cause: "this QEMU was built without VFIO, or for a machine that has none",
          cure: "install the full QEMU (qemu-system-x86, qemu-kvm)",
        },
      ],
    },
    {
      id: "libvirt-iommu-model",
      pattern:
        /IOMMU device: '(?<model>\S+)' (?:is not supported with this QEMU binary|is only supported with (?<machines>.*) machines)/i,
      says: "the guest cannot have the vIOMMU {model}",
      certain: true,
      causes: [
        {
          cause: "the machine type or the QEMU does not have it",
          cure: "a q35 machine for intel and virtio, virt for smmuv3 and virtio",
        },
      ],
    },
    {
      id: "libvirt-migrate",
      pattern: /cannot migrate a domain with <hostdev|domain has assigned non-USB host devices/i,
      says: "a domain with a passed-through device is not migrated",
      certain: true,
      causes: [
        {
          cause: "libvirt or the device's driver cannot save the device's state",
          cure: "unplug it before, or use a network interface with <teaming>",
        },
      ],
    },
    {
      id: "libvirt-monitor",
      pattern:
        /(?:qemu unexpectedly closed the monitor|QEMU unexpectedly closed the monitor|process exited while connecting to monitor|virDomainCreate(?:WithFlags)?\(?\)? failed)\b/i,
      kind: "consequence",
      says: "QEMU ended while libvirt started it: why stands in what QEMU said",
    },
  ],
};
