import { NOT_VIABLE_CAUSE } from "../causes/attach.ts";
import type { RuleSet } from "../rule.ts";
import { BDF, re } from "./pattern.ts";

/** What starts VMMs: Proxmox, KubeVirt, kata, device plugins, scripts that write to sysfs. */
export const ORCHESTRATORS: RuleSet = {
  program: "what starts the VMM (Proxmox, KubeVirt, kata, scripts)",
  rules: [
    {
      id: "pve-reset-write",
      pattern: re(
        `error writing '1' to '/sys/bus/pci/devices/${BDF}/reset': (?<errno>.*)|failed to reset PCI device '${BDF}'`,
      ),
      kind: "harmless",
      says: "the device has no reset of its own; Proxmox goes on, and most devices work all the same",
    },
    {
      id: "pve-bind",
      pattern: re(`Cannot bind ${BDF} to vfio|can't (?:bind|unbind) (?:pci )?device ${BDF}`),
      says: "the device was not bound to vfio-pci",
      causes: [
        {
          cause: "another driver has it and does not let go, or vfio-pci does not take it (no IOMMU group)",
          cure: "reserve it from the boot on: options vfio-pci ids=VENDOR:DEVICE, softdep of its driver; switch the IOMMU on",
          saidBy: ["probe-failed", "no-dmar", "iommu-disabled"],
        },
      ],
      capture: "dmesg | tail; lspci -nnk -s BDF",
    },
    {
      id: "pve-iommu",
      pattern:
        /cannot prepare PCI pass-through, IOMMU not present|IOMMU is not (?:enabled|present|active)|No IOMMU detected, please activate it/i,
      says: "there are no IOMMU groups on the host",
      certain: true,
      causes: [
        {
          cause: "the IOMMU is off in the firmware or in the kernel",
          cure: "VT-d or AMD-Vi in the firmware; intel_iommu=on on the kernel's command line (AMD needs none)",
        },
      ],
    },
    {
      id: "pve-no-device",
      pattern: /no PCI device found for '?(?<name>[\w:.]+)'?|PCI device mapping .{0,80} not found/i,
      says: "the host has no such device",
      certain: true,
      causes: [
        {
          cause: "it is gone, or has another address since the last boot",
          cure: "lspci -D, and the right address in the configuration",
        },
      ],
    },
    {
      id: "group-wrong-driver",
      ask: "set-container",
      pattern: re(
        `IOMMU group (?<group>\\d+) has devices not bound to vfio-pci|(?:not all devices|All devices) in (?:an |the )?IOMMU group(?: must be)? bound to vfio`,
      ),
      says: "the group cannot be given away as it is",
      certain: true,
      causes: [NOT_VIABLE_CAUSE],
    },
    {
      id: "busy-group",
      pattern: re("(?:/dev/vfio/(?<group>\\d+))[^\\n]{0,40}(?<errno>Device or resource busy)"),
      says: "/dev/vfio/{group} cannot be opened",
      call: "open-group",
    },
    {
      id: "sysfs-bind",
      pattern: re(
        "(?:write error|echo: write error|tee: .*/(?:bind|new_id|drivers_probe|driver_override)): (?<errno>(?:No such device|Device or resource busy|Invalid argument|File exists|No such file or directory))",
      ),
      says: "a write to a driver's file of sysfs failed",
      call: "bind-driver",
    },
    {
      id: "kvm-irq-routing",
      pattern: /kvm: .*zapping shadow pages|kvm_set_msi|KVM_IRQFD.*(?:failed|Invalid)/i,
      kind: "harmless",
      says: "a line of KVM that has nothing to do with VFIO's failures",
    },
    {
      id: "module-missing",
      pattern: /(?:modprobe|insmod)[^\n]{0,60}\b(?<module>vfio[\w-]*)[^\n]{0,40}(?:not found|No such file)/i,
      says: "the module {module} cannot be loaded",
      causes: [
        {
          cause:
            "it is built into the kernel, where nothing need be loaded; or the modules of the running kernel are not there (a container, or an update without a boot)",
          cure: "ls /sys/module/vfio_pci: when it is there, go on; else install the modules of the running kernel (uname -r), or load them on the host and not in the container",
        },
      ],
    },
    {
      id: "module-builtin",
      pattern: /modprobe: FATAL: Module vfio\w* is builtin/i,
      kind: "harmless",
      says: "VFIO is built into the kernel: nothing need be loaded",
    },
    {
      id: "pve-exit",
      pattern: /TASK ERROR: start failed\b|start failed: QEMU exited with code/i,
      kind: "consequence",
      says: "Proxmox could not start the guest; what QEMU said stands before it",
    },
    {
      id: "vgpu",
      pattern:
        /nvidia-vgpu-mgr\S*: (?:error|notice): vmiop_log: (?<what>.*(?:error|failed|Failed|mismatch).*)|\[nvidia-vgpu-vfio\] (?<what2>.*(?:error|failed|Failed).*)/i,
      says: "NVIDIA's manager of virtual GPUs says: {what}{what2}",
      causes: [
        {
          cause:
            "the manager refuses the virtual GPU: its license, its profile, its guest's driver, or its mapping of guest memory",
          cure: "journalctl -u nvidia-vgpu-mgr; the versions of the host's and the guest's driver must go together",
        },
      ],
    },
    {
      id: "kata-hotplug",
      pattern: /failed to hotplug VFIO device|Failed to (?:hotplug|add) device\b/i,
      kind: "consequence",
      says: "kata could not plug the device into the guest; why stands in the same line or before it",
    },
    {
      id: "kubevirt-sync",
      pattern: /command SyncVMI failed/i,
      kind: "consequence",
      says: "KubeVirt could not start the guest; why stands in the same line",
    },
  ],
};
