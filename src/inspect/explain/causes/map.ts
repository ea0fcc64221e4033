import type { Cause, LineFacts } from "../rule.ts";

const GIB = 1n << 30n;
/** What x86 writes interrupts to: no IOMMU translates it as memory. */
const MSI = { start: 0xfee00000n, last: 0xfeefffffn };
/** HyperTransport's range on AMD machines (drivers/iommu/amd/iommu.c: amd_iommu_get_resv_regions). */
const HYPER_TRANSPORT = { start: 0xfd00000000n, last: 0xffffffffffn };
/** 39 address bits: what the IOMMUs of Intel's client processors translate, and QEMU's own by default. */
const BITS_39 = 1n << 39n;
/** From here on the guest's BARs are likelier than its memory: few guests are as large. */
const FAR = 1n << 42n;

function overlaps({ iova, size }: LineFacts, { start, last }: { readonly start: bigint; readonly last: bigint }) {
  if (iova === undefined) return undefined;
  return iova <= last && iova + (size ?? 1n) - 1n >= start;
}

const isUnaligned = ({ iova, size }: LineFacts) =>
  (iova !== undefined && iova % 4096n !== 0n) || (size !== undefined && size % 4096n !== 0n);

const NARROW: Cause = {
  byHost: true,
  cause:
    "the address lies beyond what the host's IOMMU translates (its aperture; 39 bits on Intel's client processors)",
  cure: "for a BAR of the guest: let the guest's CPU have no more address bits than the IOMMU (QEMU: -cpu host,host-phys-bits-limit=39, libvirt: <maxphysaddr mode='passthrough' limit='39'/>, cloud-hypervisor: --cpus max_phys_bits=39); for its memory: less memory; where the host is itself a guest of QEMU: -device intel-iommu,aw-bits=48",
  tell: "Intel: bits 21-16 of /sys/class/iommu/dmar0/intel-iommu/cap are the width less one",
  judge: ({ iova, size }) => {
    if (iova === undefined) return undefined;
    const end = iova + (size ?? 1n);
    return end <= 1n << 32n ? "impossible" : end > BITS_39 ? "first" : undefined;
  },
};

const RESERVED: Cause = {
  byHost: true,
  cause:
    "the range overlaps a reserved region of the device's group (an interrupt window, or memory that firmware uses)",
  cure: "move the guest's memory or BAR out of the region; on AMD use a machine type that leaves out 0xfd00000000-0xffffffffff (pc-q35-7.1 and later)",
  tell: "cat /sys/kernel/iommu_groups/N/reserved_regions",
  judge: (facts) => (overlaps(facts, HYPER_TRANSPORT) ? "first" : undefined),
};

const INTERRUPTS: Cause = {
  byHost: true,
  cause: "the range overlaps 0xfee00000-0xfeefffff, where x86 machines write interrupts to: no IOMMU there maps it",
  cure: "map the memory around it: a VMM must not have RAM or a BAR there; a program of your own asks VFIO_IOMMU_GET_INFO for the valid ranges",
  judge: (facts) => (overlaps(facts, MSI) ? "first" : "impossible"),
};

const ALIGNMENT: Cause = {
  cause: "iova, vaddr or size is no multiple of the smallest IOMMU page",
  cure: "align all three; on a kernel with 64 KiB pages nothing smaller can be mapped, so BARs and memory regions of 4 KiB fail there",
  tell: "getconf PAGESIZE on the host; VFIO_IOMMU_GET_INFO says which pages the IOMMU has",
  judge: (facts) =>
    isUnaligned(facts)
      ? "first"
      : facts.iova !== undefined && facts.size !== undefined && facts.iova % 65536n === 0n && facts.size % 65536n === 0n
        ? "impossible"
        : undefined,
};

const NO_IOMMU_YET: Cause = {
  cause: "the container has no IOMMU yet: VFIO_SET_IOMMU comes before the first mapping, and a group before that",
  cure: "add a group (VFIO_GROUP_SET_CONTAINER), call VFIO_SET_IOMMU, then map",
  tell: "programs of your own only: QEMU, libvirt, DPDK and cloud-hypervisor keep the order",
  judge: ({ iova }) => (iova !== undefined && iova >= GIB ? "impossible" : undefined),
};

export const MAP_EINVAL: readonly Cause[] = [INTERRUPTS, NARROW, RESERVED, ALIGNMENT, NO_IOMMU_YET];

export const MEMLOCK: Cause = {
  cause:
    "the process may not lock so much memory (RLIMIT_MEMLOCK): all that is mapped is locked, guest memory as a whole",
  cure: "raise the limit above the guest's memory: ulimit -l unlimited, LimitMEMLOCK=infinity in the systemd unit, memlock in /etc/security/limits.conf, --ulimit memlock=-1 of docker and podman, libvirt's <memtune><hard_limit>; or give the process CAP_IPC_LOCK",
  tell: "the kernel's log has a line with RLIMIT_MEMLOCK; grep locked /proc/PID/limits of the VMM",
  saidBy: ["memlock-exceeded", "memlock-prlimit", "memlock-small"],
};

const NOT_ENOUGH_MEMORY: Cause = {
  cause:
    "the host has not enough memory that can be pinned: it is used, or the control group of the VMM or its huge pages are exhausted",
  cure: "give the guest less memory, free huge pages, or raise memory.max of the control group",
  tell: "free -g, grep Huge /proc/meminfo, memory.events of the control group",
};

const LOCKED_FOR_EACH: Cause = {
  cause:
    "guest memory is locked once for each container: behind a vIOMMU each device has one of its own, and the limit counts all of them",
  cure: "a limit of the number of devices times the memory (libvirt sets it so since 8.7; KubeVirt's own limit counted one device until May 2026); or no vIOMMU",
  tell: "two or more vfio devices and -device intel-iommu, amd-iommu, virtio-iommu or smmuv3 on the command line",
};

export const MAP_ENOMEM: readonly Cause[] = [MEMLOCK, LOCKED_FOR_EACH, NOT_ENOUGH_MEMORY];

export const MAP_ENOSPC: readonly Cause[] = [
  {
    cause:
      "the container has all the mappings that it may have (65535 unless vfio_iommu_type1.dma_entry_limit says otherwise)",
    cure: "map in larger pieces: huge pages of 1 GiB for DPDK and SPDK, a larger block-size for virtio-mem; or raise the limit: echo 1000000 > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit before the program starts",
    tell: "65535 pieces of 2 MiB are 128 GiB: where a process fails just there, it is this one",
  },
];

export const MAP_EFAULT: readonly Cause[] = [
  {
    cause:
      "the memory is a device's registers (a BAR of another device, mapped for peer-to-peer), and the kernel pins such memory only while its device decodes it",
    cure: "QEMU says so and goes on; elsewhere leave BARs out of what is mapped (cloud-hypervisor: vfio_p2p_dma=off; with iommufd a BAR needs a dma-buf, Linux 6.19)",
    tell: "the iova is that of a BAR and not of RAM (info mtree of QEMU's monitor; lspci -v in the guest)",
    judge: ({ iova }) => (iova !== undefined && iova >= FAR ? "first" : undefined),
  },
  {
    cause:
      "the memory behind vaddr is not there: not mapped, not writable though WRITE is asked for, or a file that is too short or that the kernel does not pin",
    cure: "map the memory before it is given to VFIO, writable if the device is to write; guest memory in a file: on tmpfs or hugetlbfs, as long as the guest's memory",
    tell: "grep the address in /proc/PID/maps; strace -e ioctl,mmap",
  },
  {
    cause:
      "long-term pins of this file's pages are refused (a DAX file on a file system, since Linux 4.15; a file on disk that is written through the page cache, since 6.5)",
    cure: "use device-DAX, tmpfs or hugetlbfs as the memory backend",
  },
];

export const MAP_EEXIST: readonly Cause[] = [
  {
    cause: "something of that IOVA range is mapped in this container already",
    cure: "unmap it first, or leave it as it is when it is the same memory (DPDK and SPDK do); with several devices in one container map shared memory once",
    tell: "two devices or two threads that map the same range: the numbers of the earlier VFIO_IOMMU_MAP_DMA",
  },
];

export const MAP_EBUSY: readonly Cause[] = [
  {
    cause:
      "the IOMMU's page table has a mapping at that address that VFIO did not make or did not take away, or a vaddr is being updated",
    cure: "QEMU unmaps and tries again by itself; where it stays, close the container and begin anew",
  },
];

export const MAP_EPERM: readonly Cause[] = [
  {
    cause:
      "the process may not map: WRITE is asked for memory that it has read-only, or (POWER) the container is not enabled or belongs to another process",
    cure: "map the memory writable; on POWER VFIO_IOMMU_ENABLE or VFIO_IOMMU_SPAPR_REGISTER_MEMORY comes first, from the process that opened the container",
  },
];

export const MAP_ENOENT: readonly Cause[] = [
  {
    cause:
      "QEMU prints errno as it was when the message was written: -2 may stand for an earlier failure, such as the limit of locked memory",
    cure: "look at the line before, which says why the mapping failed, and at the kernel's log for RLIMIT_MEMLOCK",
    tell: "VFIO_MAP_DMA failed: ... stands right before it",
    saidBy: ["memlock-exceeded"],
  },
];

export const MAP_EIO: readonly Cause[] = [
  {
    cause:
      "the device is in an error state (s390: a DMA request of it faulted), or the IOMMU's driver could not write its table",
    cure: "reset the device; on s390 write 1 to /sys/bus/pci/devices/BDF/recover",
  },
];

export const MAP_ENODEV: readonly Cause[] = [
  {
    cause:
      "no address space stands for the container (iommufd in its place), or all that is in it are mediated devices without an IOMMU that have gone",
    cure: "add a group to the container before mapping",
  },
];

export const UNMAP_EINVAL: readonly Cause[] = [
  {
    cause:
      "the range is not a whole number of earlier mappings (type1 v2 cuts none), not a multiple of the smallest page, or runs past 2^64",
    cure: "unmap what was mapped, with the same first address and size",
    tell: "the numbers of the VFIO_IOMMU_MAP_DMA calls before it; uvfio run says which mapping would be cut",
  },
  {
    cause: "Linux 4.15 to 4.20 cannot unmap the last page of the address space",
    cure: "QEMU works around it; elsewhere leave out the last page",
  },
];

export const UNMAP_ENOENT: readonly Cause[] = [
  {
    cause: "nothing is mapped there: it was never mapped, or was unmapped already",
    cure: "nothing is lost when a program takes down what it had; else find who unmapped it first",
  },
];
