import type { Cause } from "../rule.ts";

const NO_INTERRUPT_REMAPPING: Cause = {
  cause:
    "the IOMMU does not remap interrupts, so that a device could raise any of the host's: type1 refuses it unless it is told otherwise",
  cure: "switch interrupt remapping on (x2APIC and VT-d in the firmware, no intremap=off); or, where guests are trusted, modprobe vfio_iommu_type1 allow_unsafe_interrupts=1",
  tell: 'dmesg | grep -i remapping has neither "Enabled IRQ remapping" nor "Interrupt remapping enabled"; the kernel\'s log says "No interrupt remapping support"',
  saidBy: ["no-interrupt-remapping", "irq-remapping-failed", "irq-remapping-off"],
};

const FIRMWARE_MEMORY: Cause = {
  cause:
    "firmware uses memory through the device (RMRR of the DMAR table, IVMD on AMD), so that the kernel gives it to nobody",
  cure: "switch off what uses it: HPE servers: HP shared memory features of the slot (conrep, or the RBSU menu); USB legacy support; a newer firmware; or give the guest another device",
  tell: 'the kernel\'s log says "ineligible for IOMMU domain attach" or "1:1 IOMMU mapping"; cat /sys/kernel/iommu_groups/N/reserved_regions has a line that ends with direct',
  saidBy: ["rmrr-ineligible", "one-to-one-mapping"],
};

const NOT_VIABLE: Cause = {
  cause:
    "not all devices of the group are VFIO's: one of them is bound to a driver of the host (a group is given away as a whole)",
  cure: "bind all its devices to vfio-pci, or unbind them; root ports and bridges may keep their driver (pcieport). Where the group is too large: another slot, ACS in the firmware, or (at the risk of guests reaching each other) pcie_acs_override of patched kernels",
  tell: "ls /sys/kernel/iommu_groups/N/devices, and lspci -nnk -s of each: its kernel driver in use",
  saidBy: ["not-viable"],
};

export const SET_CONTAINER: Readonly<Record<string, readonly Cause[]>> = {
  EINVAL: [
    {
      cause: "the group is in a container already, or what was given is no descriptor of /dev/vfio/vfio",
      cure: "VFIO_GROUP_UNSET_CONTAINER comes first; a group opened a second time is busy, so look for an earlier call of the same program",
      tell: "strace -e ioctl: an earlier VFIO_GROUP_SET_CONTAINER on that descriptor",
    },
    {
      cause:
        "the group cannot share a container with those that are in it (another kind of IOMMU), or its reserved regions or its aperture leave no room for what is mapped there",
      cure: "a container of its own; or unmap what lies in the group's reserved regions before it is added",
      tell: "reserved_regions of both groups",
    },
    { ...FIRMWARE_MEMORY },
  ],
  EPERM: [NOT_VIABLE, FIRMWARE_MEMORY, NO_INTERRUPT_REMAPPING],
  EBUSY: [
    {
      cause: "the group has another owner: the host's drivers, or an iommufd",
      cure: "unbind what the host still has of the group, close what has it open through /dev/vfio/devices",
      tell: "fuser -v /dev/vfio/* /dev/vfio/devices/*",
    },
    NOT_VIABLE,
  ],
  EBADF: [
    {
      cause: "what was given is no open descriptor",
      cure: "open /dev/vfio/vfio and pass the address of an int with its descriptor",
    },
  ],
  ENOMEM: [
    {
      cause:
        "what is mapped in the container cannot be locked for the new group (RLIMIT_MEMLOCK), or the kernel has no memory",
      cure: "raise the limit of locked memory (ulimit -l)",
    },
  ],
};

export const SET_IOMMU: Readonly<Record<string, readonly Cause[]>> = {
  EPERM: [NO_INTERRUPT_REMAPPING, FIRMWARE_MEMORY],
  EINVAL: [
    { ...FIRMWARE_MEMORY },
    {
      cause: "no group is in the container, or it has an IOMMU already",
      cure: "VFIO_GROUP_SET_CONTAINER comes first, VFIO_SET_IOMMU once",
      tell: "programs of your own only",
    },
    {
      cause:
        "what stands for the device has no IOMMU of the kind that was asked for (a mediated device, no-IOMMU mode)",
      cure: "ask VFIO_CHECK_EXTENSION which type there is; VFIO_NOIOMMU_IOMMU (8) for no-IOMMU groups",
    },
  ],
  ENODEV: [
    {
      cause: "the kernel has no module for that type of IOMMU, or the devices have none",
      cure: "modprobe vfio_iommu_type1 (x86, arm64), vfio_iommu_spapr_tce (POWER); switch the IOMMU on: intel_iommu=on, amd_iommu=on, VT-d or AMD-Vi in the firmware",
      tell: "ls /sys/class/iommu /sys/kernel/iommu_groups",
    },
  ],
  EBUSY: [{ ...NOT_VIABLE, cause: "the group's DMA has another owner: the kernel, or an iommufd" }],
  EIO: [
    {
      cause:
        "the IOMMU's driver could not attach the device (its table cannot be written, the device is gone or in an error state)",
      cure: "look at the kernel's log at that time; reset the device, or boot again",
      tell: "dmesg: lines of DMAR, AMD-Vi, arm-smmu at that time",
    },
  ],
  ENOMEM: [
    {
      cause: "the kernel has no memory for page tables, or the IOMMU has no domain left",
      cure: "fewer containers: one for all devices of a guest",
      tell: "dmesg | grep -i domain",
    },
  ],
};

export const DEVICE_FD: Readonly<Record<string, readonly Cause[]>> = {
  EINVAL: [
    {
      cause:
        "the group is in no container, the container has no IOMMU yet, or a device of the group is in use by the host again",
      cure: "VFIO_GROUP_SET_CONTAINER and VFIO_SET_IOMMU come first",
      tell: "programs of your own; or lspci -nnk of the group's devices",
    },
    {
      cause:
        "the device is a virtual function whose physical function is bound to vfio-pci, and the VF token is missing or is not the one that the owner of the physical function set",
      cure: "give the token: QEMU vf-token=UUID, DPDK --vfio-vf-token=UUID; or bind the physical function to its own driver",
      tell: 'the kernel\'s log says "VF token"',
      saidBy: ["vf-token"],
    },
    {
      cause:
        "the device could not be enabled: it is in D3cold, it does not answer, or it is behind a bridge that sleeps",
      cure: "disable_idle_d3=1 of vfio-pci; echo on > /sys/bus/pci/devices/BDF/power/control of the bridge above it; a cold boot when it reads as all ones",
      tell: "lspci -xxx -s BDF: ff everywhere; dmesg: power state",
      saidBy: ["power-state", "stuck-in-d"],
    },
  ],
  EBUSY: [
    {
      cause:
        "the device is open already: somebody else has it, or the same program opens it twice; devices that are reset together belong to one user",
      cure: "end the other user; give devices that share a reset (functions of one card) to the same guest",
      tell: "fuser -v /dev/vfio/N",
    },
  ],
  ENODEV: [
    {
      cause:
        "the group has no such device that is bound to a VFIO driver (another driver has it, it was unplugged, or its name is wrong)",
      cure: "bind it to vfio-pci: driverctl set-override BDF vfio-pci",
      tell: "lspci -nnk -s BDF",
    },
  ],
  EACCES: [
    {
      cause:
        "a VF token is asked for (the physical function is bound to vfio-pci), or a no-IOMMU device without CAP_SYS_RAWIO",
      cure: "give the token: QEMU vf-token=UUID, DPDK --vfio-vf-token=UUID",
      tell: 'the kernel\'s log says "VF token"',
      saidBy: ["vf-token"],
    },
  ],
  EPERM: [
    {
      cause: "the kernel does not know whether it could reset the device, or a security module refuses it",
      cure: "look at the kernel's log; with no-IOMMU mode CAP_SYS_RAWIO is needed",
    },
  ],
  EIO: [
    {
      cause: "the device does not answer: its link is down, or it hung in an earlier guest and no reset brings it back",
      cure: "boot the host again, from power off; for GPUs that cannot be reset see vendor-reset",
      tell: "lspci -xxx -s BDF: ff everywhere",
    },
  ],
};

export const ATTACH_PT: Readonly<Record<string, readonly Cause[]>> = {
  EINVAL: [
    {
      cause:
        "the page table is for another IOMMU than the device's; QEMU then makes one of its own, so that only the last message counts",
      cure: "allocate a page table for the device (IOMMU_HWPT_ALLOC)",
    },
    FIRMWARE_MEMORY,
    {
      cause: "what is mapped in the address space lies in reserved regions of the device",
      cure: "attach devices before memory is mapped, and ask IOMMU_IOAS_IOVA_RANGES what may be used",
      tell: "cat /sys/kernel/iommu_groups/N/reserved_regions",
    },
  ],
  EADDRINUSE: [
    {
      cause:
        "what is mapped in the address space lies in reserved regions of the device (interrupt window, firmware's memory)",
      cure: "unmap it before the device is attached; IOMMU_IOAS_IOVA_RANGES says what may be used",
      tell: "cat /sys/kernel/iommu_groups/N/reserved_regions",
    },
  ],
  EPERM: [NO_INTERRUPT_REMAPPING, FIRMWARE_MEMORY],
  EBUSY: [
    {
      cause: "the device, or another one of its group, is attached to something else",
      cure: "devices of one group are attached to the same address space",
    },
  ],
  ENODEV: [
    { cause: "the device is gone, or has no IOMMU", cure: "look at ls -l /sys/bus/pci/devices/BDF/iommu_group" },
  ],
  EOPNOTSUPP: [
    { cause: "the IOMMU's driver cannot do what was asked for", cure: "leave out nesting, dirty tracking or PASIDs" },
  ],
};

export const BIND_IOMMUFD: Readonly<Record<string, readonly Cause[]>> = {
  EINVAL: [
    {
      cause: "the device is bound already, its group is in a container, or a VF token is missing",
      cure: "use the device by its node or by its group, not by both; give vf-token= for a virtual function whose physical function vfio-pci has",
      saidBy: ["vf-token"],
    },
    { ...NOT_VIABLE, cause: "the group's DMA has another owner: a device of it is bound to a driver of the host" },
  ],
  EBUSY: [NOT_VIABLE],
  EPERM: [NO_INTERRUPT_REMAPPING, NOT_VIABLE],
  EACCES: [{ cause: "a VF token is missing or wrong", cure: "give vf-token=UUID", saidBy: ["vf-token"] }],
  EBADFD: [
    { cause: "what was given is no descriptor of /dev/iommu", cure: "open /dev/iommu and pass that descriptor" },
  ],
  ENODEV: [
    { cause: "the device is gone, or has no IOMMU", cure: "look at ls -l /sys/bus/pci/devices/BDF/iommu_group" },
  ],
  ENOTTY: [
    {
      cause: "the kernel or the driver knows no iommufd for this device (a mediated device before Linux 6.6)",
      cure: "use the group's node",
    },
  ],
};

export const ALLOC_HWPT: Readonly<Record<string, readonly Cause[]>> = {
  EOPNOTSUPP: [
    {
      cause:
        "the IOMMU, its driver or this kernel cannot make such a page table (nested, with dirty tracking, with PASIDs)",
      cure: "leave out what asks for it (QEMU: x-flts=on of intel-iommu, accel=on of smmuv3, dirty tracking for migration); nesting on Intel wants scalable mode: intel_iommu=on,sm_on",
      tell: "IOMMU_GET_HW_INFO; dmesg | grep -i scalable",
    },
  ],
  EINVAL: [
    {
      cause:
        "the values of the guest's table do not go with the host's IOMMU (address width, levels, flags), or the device's IOMMU is another one than the parent's",
      cure: "give the vIOMMU what the host's has: aw-bits=39 or 48, no more features",
      tell: "cap and ecap in /sys/class/iommu/dmar*/intel-iommu",
    },
    FIRMWARE_MEMORY,
  ],
  ENOMEM: [{ cause: "the kernel has no memory for the table", cure: "free memory" }],
};

export const NOT_VIABLE_CAUSE = NOT_VIABLE;
export const FIRMWARE_CAUSE = FIRMWARE_MEMORY;
export const REMAPPING_CAUSE = NO_INTERRUPT_REMAPPING;
