import type { Cause } from "../rule.ts";

const CONTAINER_DEVICE: Cause = {
  cause:
    "it runs in a container or sandbox whose device control group does not let it open the node (nspawn, docker, podman, kata, a pod)",
  cure: "let it: --device /dev/vfio/vfio --device /dev/vfio/N for docker and podman, DeviceAllow=char-vfio rw in a unit, a device plugin in Kubernetes",
  tell: "the same program runs outside of the container; stat shows that its user may open the node",
};

const NOT_OWNER: Cause = {
  cause: "its user may not open the node: /dev/vfio/N belongs to root until somebody changes that",
  cure: 'chown USER /dev/vfio/N, or a udev rule: SUBSYSTEM=="vfio", OWNER="USER"; /dev/vfio/vfio may be opened by all',
  tell: "ls -l /dev/vfio as that user",
};

const MODULE_MISSING: Cause = {
  cause: "vfio is not loaded, or /dev of this container is its own",
  cure: "modprobe vfio-pci; in a container give it the node (--device /dev/vfio/vfio)",
  tell: "ls /dev/vfio; lsmod | grep vfio",
};

const SECURITY_MODULE: Cause = {
  cause: "AppArmor, SELinux or seccomp refuses it",
  cure: "libvirt adds what it knows of; for a device that libvirt does not know add the node to the profile (/etc/apparmor.d/local/abstractions/libvirt-qemu), or set the label",
  tell: "dmesg | grep -e DENIED -e avc",
  saidBy: ["apparmor-denied"],
};

const NOT_BOUND: Cause = {
  cause: "no device of the group is bound to vfio-pci, so that there is no node for it",
  cure: "bind it: driverctl set-override BDF vfio-pci, or echo vfio-pci > /sys/bus/pci/devices/BDF/driver_override and echo BDF > /sys/bus/pci/drivers_probe",
  tell: 'lspci -nnk -s BDF: "Kernel driver in use"',
};

const IN_USE: Cause = {
  cause:
    "another process has the group open: a VMM that still runs, or one that has just ended and is not gone yet. One process has a group",
  cure: "end the other one; devices of one group go to one process",
  tell: "fuser -v /dev/vfio/N, lsof /dev/vfio/N",
};

const CDEV_IN_USE: Cause = {
  cause:
    "a device of the group is open through /dev/vfio/devices, and a group is used either by its own node or by its devices' ones",
  cure: "use one of both for all devices of the group",
  tell: "fuser -v /dev/vfio/devices/*",
};

export const OPEN_GROUP: Readonly<Record<string, readonly Cause[]>> = {
  ENOENT: [
    NOT_BOUND,
    {
      cause: "it runs in a container whose /dev has no such node",
      cure: "give it the node (--device /dev/vfio/N), or mount /dev/vfio",
      tell: "ls /dev/vfio inside and outside",
    },
    {
      cause: "the device is in no-IOMMU mode, where the node is /dev/vfio/noiommu-N",
      cure: "use a program that knows no-IOMMU mode (DPDK does), or switch the IOMMU on",
      tell: "ls /dev/vfio",
      saidBy: ["noiommu-open", "noiommu-taint"],
    },
  ],
  EACCES: [NOT_OWNER, SECURITY_MODULE],
  EPERM: [
    CONTAINER_DEVICE,
    {
      cause: "a no-IOMMU node wants CAP_SYS_RAWIO",
      cure: "run it with that capability (--cap-add SYS_RAWIO)",
    },
    SECURITY_MODULE,
  ],
  EBUSY: [IN_USE, CDEV_IN_USE],
  ENODEV: [
    {
      cause: "the group has no device that a VFIO driver has any more: it was unbound, or unplugged",
      cure: "bind it to vfio-pci again",
      tell: "ls /sys/kernel/iommu_groups/N/devices and their driver links",
    },
  ],
};

export const OPEN_CONTAINER: Readonly<Record<string, readonly Cause[]>> = {
  ENOENT: [MODULE_MISSING],
  ENODEV: [MODULE_MISSING],
  EACCES: [NOT_OWNER, SECURITY_MODULE],
  EPERM: [CONTAINER_DEVICE, SECURITY_MODULE],
};

export const OPEN_IOMMUFD: Readonly<Record<string, readonly Cause[]>> = {
  ENOENT: [
    {
      cause: "the kernel has no iommufd: before Linux 6.2, built without CONFIG_IOMMUFD, or the module is not loaded",
      cure: "modprobe iommufd; or use the container (/dev/vfio/vfio) in its place",
      tell: "ls -l /dev/iommu; grep IOMMUFD /boot/config-$(uname -r)",
    },
    {
      ...MODULE_MISSING,
      cause: "/dev of this container has no /dev/iommu",
      cure: "give it the node (--device /dev/iommu)",
    },
  ],
  EACCES: [
    { ...NOT_OWNER, cause: "its user may not open /dev/iommu", cure: "chown USER /dev/iommu, or a udev rule" },
    SECURITY_MODULE,
  ],
  EPERM: [CONTAINER_DEVICE, SECURITY_MODULE],
};

export const OPEN_CDEV: Readonly<Record<string, readonly Cause[]>> = {
  ENOENT: [
    {
      ...NOT_BOUND,
      cause: "the device is not bound to vfio-pci, so that it has no vfio-dev folder and no node of its own",
    },
    {
      cause:
        "the kernel gives devices no nodes of their own: before Linux 6.6, or built without CONFIG_VFIO_DEVICE_CDEV",
      cure: "a kernel with it; or the group's node and the container in the place of iommufd",
      tell: "ls /dev/vfio/devices; grep VFIO_DEVICE_CDEV /boot/config-$(uname -r)",
    },
  ],
  EACCES: [
    {
      ...NOT_OWNER,
      cause: "its user may not open /dev/vfio/devices/vfioN",
      cure: "chown USER /dev/vfio/devices/vfioN, or a udev rule",
    },
    SECURITY_MODULE,
  ],
  EPERM: [CONTAINER_DEVICE, SECURITY_MODULE],
  EBUSY: [IN_USE],
};
