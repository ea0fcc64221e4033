import type { Cause } from "../rule.ts";

/** Somebody of the host sits on a BAR: firmware's frame buffer, mostly. */
export const BAR_CLAIMED: Cause = {
  cause:
    "somebody else on the host has reserved memory inside of the BAR: for a GPU that the machine booted with, the firmware's frame buffer (efifb, vesafb, simpledrm; BOOTFB in /proc/iomem)",
  cure: "keep the host off it: boot with another GPU as the first one; initcall_blacklist=sysfb_init (kernels where sysfb is built in); video=efifb:off (before 5.15); or unbind the frame buffer before the guest starts: echo efi-framebuffer.0 > /sys/bus/platform/drivers/efi-framebuffer/unbind",
  tell: "grep -A3 BDF /proc/iomem: a name that is neither the device nor vfio",
  saidBy: ["bar-cannot-reserve"],
};

export const SET_IRQS: Readonly<Record<string, readonly Cause[]>> = {
  EBUSY: [
    {
      cause:
        "the device cannot mask its INTx by itself, so that its line must be its own, and something of the host uses it too",
      cure: "move the card to another slot, unbind or switch off the device that shares the line, or let the device use MSI",
      tell: "the line's number in /proc/interrupts has two names; lspci -vv: DisINTx-",
      saidBy: ["irq-flags-mismatch"],
    },
  ],
  EINVAL: [
    {
      cause:
        "the device has no such interrupt, or fewer vectors than were asked for; or another kind of interrupt is on (INTx, MSI, MSI-X one at a time)",
      cure: "ask VFIO_DEVICE_GET_IRQ_INFO first; switch the other kind off before",
      tell: "lspci -vv: MSI: Enable, MSI-X: Enable, Interrupt: pin",
    },
  ],
  ENOSPC: [
    {
      cause: "the host has no interrupt vectors left for the device",
      cure: "fewer vectors in the guest (queues of a NIC, an NVMe disk), more interrupt remapping entries",
    },
  ],
  ENOMEM: [{ cause: "the kernel has no memory for the vectors", cure: "free memory" }],
  ENODEV: [
    {
      cause: "the device has no INTx line that the host knows of (irq 0)",
      cure: "let the guest's driver use MSI or MSI-X; INTx of this device goes nowhere",
    },
  ],
};

export const RESET: Readonly<Record<string, readonly Cause[]>> = {
  ENOTTY: [
    {
      cause:
        "the device has no reset of its own: neither FLR nor a power state that loses its state, and other devices share its bus",
      cure: "most guests start without; where the second start of a guest fails, give the guest all devices of the bus (then the bus is reset), or boot the host between",
      tell: "cat /sys/bus/pci/devices/BDF/reset_method (Linux 5.15 and later); empty or absent",
    },
  ],
  EINVAL: [{ cause: "the device cannot be reset now", cure: "look at the kernel's log" }],
  EIO: [
    {
      cause: "the device did not come back from its reset",
      cure: "boot the host again, from power off; for AMD GPUs see vendor-reset",
    },
  ],
};

export const HOT_RESET: Readonly<Record<string, readonly Cause[]>> = {
  EINVAL: [
    {
      cause:
        "a reset of the bus would reset devices that this process has not: all groups on the bus must be its own, bound to vfio-pci",
      cure: "give all functions on the bus to the same guest (a GPU with its audio and USB functions)",
      tell: "lspci -t; VFIO_DEVICE_GET_PCI_HOT_RESET_INFO lists them",
    },
  ],
  EPERM: [
    { cause: "devices of the bus belong to somebody else", cure: "give all functions on the bus to the same guest" },
  ],
};

export const REGION_ACCESS: Readonly<Record<string, readonly Cause[]>> = {
  EBUSY: [BAR_CLAIMED],
  ENOMEM: [
    {
      cause:
        "the kernel cannot map the BAR: no address space is left, or somebody else has the memory with another kind of caching",
      cure: "see who has it in /proc/iomem; a frame buffer of the firmware's is the usual one",
      tell: "grep -A3 BDF /proc/iomem",
    },
    BAR_CLAIMED,
  ],
  EIO: [
    {
      cause: "memory decoding is off in the device's command register, or the device sleeps (D3)",
      cure: "the guest's driver switches memory on before it uses registers; keep the device from sleeping: disable_idle_d3=1",
      tell: "lspci -vv -s BDF: Mem-",
    },
  ],
  EINVAL: [
    {
      cause: "the access reaches beyond the region, or into the MSI-X table",
      cure: "stay in what VFIO_DEVICE_GET_REGION_INFO says",
    },
  ],
};

export const BIND_DRIVER: Readonly<Record<string, readonly Cause[]>> = {
  EINVAL: [
    {
      cause:
        "the device is in no IOMMU group: the IOMMU is off, in the firmware or in the kernel, or this machine has none",
      cure: "switch on VT-d or AMD-Vi (SVM and IOMMU) in the firmware, and intel_iommu=on on the kernel's command line (amd_iommu is on by itself); without an IOMMU: enable_unsafe_noiommu_mode=1 of vfio, for programs that know that mode",
      tell: "ls /sys/kernel/iommu_groups is empty; dmesg | grep -e DMAR -e AMD-Vi",
    },
    {
      cause: "it is a bridge, or a device that vfio-pci does not take (the deny list)",
      cure: "bridges stay with pcieport; disable_denylist=1 of vfio-pci for the others",
      saidBy: ["denylist"],
    },
  ],
  ENODEV: [
    {
      cause: "vfio-pci does not know the device: neither its ids nor driver_override say that it may have it",
      cure: "echo vfio-pci > /sys/bus/pci/devices/BDF/driver_override, then echo BDF > /sys/bus/pci/drivers/vfio-pci/bind; or driverctl set-override BDF vfio-pci",
    },
    {
      cause: "the device does not answer or is gone",
      cure: "lspci -s BDF; echo 1 > /sys/bus/pci/rescan",
    },
  ],
  EBUSY: [
    {
      cause:
        "the physical function has virtual functions, or the group's DMA is the kernel's: another device of the group is bound to a driver of the host",
      cure: "echo 0 > sriov_numvfs before the physical function goes to vfio-pci; give the whole group",
      saidBy: ["pf-with-vfs"],
    },
  ],
  EEXIST: [
    {
      cause: "vfio-pci has these ids already (new_id), and the device may be bound to it",
      cure: "look at the driver link; use driver_override in the place of new_id",
    },
  ],
  ENOENT: [
    {
      cause: "vfio-pci is not loaded, or its module is built into the kernel under another name",
      cure: "modprobe vfio-pci; ls /sys/bus/pci/drivers",
    },
  ],
};
