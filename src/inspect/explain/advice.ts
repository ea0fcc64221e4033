import type { KnownError } from "./error-table.ts";

/**
 * What a reason is about: the host and its settings; who has what, and the order of calls; the arguments of the call,
 * which are wrong on every host.
 */
export type ReasonAbout = "host" | "state" | "arguments";

/** How to tell a reason of the table of errors from others, and what to do about it. */
export interface Advice {
  readonly about: ReasonAbout;
  readonly tell: string;
  readonly cure: string;
}

interface AdviceRow extends Advice {
  readonly reason: RegExp;
}

const row = (reason: RegExp, about: ReasonAbout, tell: string, cure: string): AdviceRow => ({
  reason,
  about,
  tell,
  cure,
});

/** The first that matches counts. */
const ROWS: readonly AdviceRow[] = [
  // before the host's: "has no IOMMU yet" is no matter of the host
  row(
    /has no IOMMU yet|no group: VFIO_GROUP_SET_CONTAINER|comes? first|come first|not bound to an iommufd yet|has its IOMMU .* already|in a container already|is in no container|is not set up|bound already|attached already|not attached/,
    "state",
    "the calls before it: strace -f -e ioctl, or uvfio run --trace",
    "keep the order: group, container, IOMMU, device, mappings; iommufd: bind, attach",
  ),
  // the host
  row(
    /overlaps the reserved range|overlaps \{reserved\}|overlaps \{range\}|iova .* overlaps the reserved/,
    "host",
    "cat /sys/kernel/iommu_groups/N/reserved_regions: a line that the range touches",
    "choose another IOVA: VFIO_IOMMU_GET_INFO (iommufd: IOMMU_IOAS_IOVA_RANGES) has the valid ranges; in a VMM another machine type or less memory (uvfio fit finds which)",
  ),
  row(
    /in none of the valid IOVA ranges/,
    "host",
    "compare iova and size with VFIO_IOMMU_GET_INFO's valid ranges: a mapping lies in one of them as a whole",
    "split the mapping around what is left out, or choose another IOVA",
  ),
  row(
    /outside what the IOMMU can translate|beyond what .* translates|outside the aperture/,
    "host",
    "the end of the range has more address bits than the IOMMU (Intel: bits 21-16 of cap in /sys/class/iommu/dmar0/intel-iommu)",
    "lower addresses: for guests fewer address bits (-cpu host,host-phys-bits-limit=39), for a vIOMMU aw-bits=48",
  ),
  row(
    /firmware uses|firmware needs/,
    "host",
    "a line with direct in the group's reserved_regions; the kernel's log says RMRR or 1:1 mapping",
    "switch off in the firmware what uses memory through the device (HPE: shared memory features of the slot; USB legacy support), or another device",
  ),
  row(
    /does not remap interrupts/,
    "host",
    'the kernel\'s log says "No interrupt remapping support"',
    "interrupt remapping on in the firmware (x2APIC, VT-d); or allow_unsafe_interrupts=1 of vfio_iommu_type1 (iommufd has its own) where guests are trusted",
  ),
  row(
    /RLIMIT_MEMLOCK|locked memory/,
    "host",
    "the kernel's log has RLIMIT_MEMLOCK; ulimit -l, grep locked /proc/PID/limits",
    "raise the limit: ulimit -l, LimitMEMLOCK=, --ulimit memlock=-1, libvirt's <hard_limit>; or CAP_IPC_LOCK",
  ),
  row(
    /all \{entryLimit\} mappings/,
    "host",
    "it fails after so many successful mappings (65535 pieces of 2 MiB are 128 GiB)",
    "larger pieces; or echo 1000000 > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit before the container gets its IOMMU",
  ),
  row(
    /is not viable|belongs? to the host|belong to the host/,
    "host",
    "ls -l /sys/kernel/iommu_groups/N/devices/*/driver: one is neither vfio-pci nor pcieport",
    "bind all devices of the group to vfio-pci, or unbind them",
  ),
  row(
    /offers type|no IOMMU driver|has no IOMMU\b/,
    "host",
    "ls /sys/class/iommu /sys/kernel/iommu_groups; VFIO_CHECK_EXTENSION says 0",
    "modprobe vfio_iommu_type1; switch the IOMMU on",
  ),
  row(
    /no VGA access|is no VGA device/,
    "host",
    "lspci: class 0300, and CONFIG_VFIO_PCI_VGA",
    "leave VGA out: UEFI guests need none",
  ),
  row(/belongs to \{claimedBy\}/, "host", "grep -A3 BDF /proc/iomem", "keep the host's frame buffer off the device"),
  row(
    /shares \{line\}|needs the line alone/,
    "host",
    "the line has two names in /proc/interrupts",
    "MSI, another slot, or unbind the other device",
  ),
  row(
    /cannot be reset on its own|cannot reset it|did not come up again/,
    "host",
    "reset_method of the device in sysfs is empty; others are on its bus",
    "give the guest the whole bus, or live without a reset",
  ),
  row(
    /knows no request|no feature|dirty tracking, which|has no dirty tracking|makes plain page tables|nests no|no page requests|no virtual IOMMUs/,
    "host",
    "uname -r, and what IOMMU_GET_HW_INFO or VFIO_CHECK_EXTENSION says",
    "a kernel or an IOMMU that has it; else do without",
  ),
  row(
    /mode \{mode\} and is root's|cannot be written/,
    "host",
    "ls -l of the file, as the user that the program runs as",
    "chown, a udev rule, or root",
  ),
  row(/is not on this host/, "host", "ls -l /dev/vfio", "bind the device to vfio-pci; modprobe vfio-pci, iommufd"),
  row(
    /error state/,
    "host",
    "the kernel's log; s390: the state of the function",
    "write 1 to the device's recover file, or reset it",
  ),
  // who has what, and the order of calls
  row(
    /vf_token|VF token|token/,
    "state",
    'the kernel\'s log says "VF token"; physfn of the device has vfio-pci',
    "give the token of the physical function's owner (vf-token=UUID); none where the physical function has its own driver",
  ),
  row(
    /open already|one user at a time|open through|is open, by/,
    "state",
    "fuser -v /dev/vfio/N /dev/vfio/devices/*",
    "end the other user; a device is reached through its group or its own node, not both",
  ),
  row(/address space stands for/, "state", "an iommufd is in the place of the container", "add a group first"),
  row(
    /overlaps|is there already|exists? already|has the number|are there already/,
    "state",
    "an earlier call has the same range or number",
    "unmap or remove that one first, or leave it as it is",
  ),
  row(
    /would cut|can be split|whole mappings/,
    "state",
    "the numbers of the mappings before it",
    "unmap what was mapped, with the same first address and size",
  ),
  row(
    /nothing is mapped in|is not mapped$|no mapping at|there is no .* with id|there is no object|id \{id\} is no/,
    "state",
    "no earlier call made it, or a later one took it away",
    "use what was made, and only as long as it is there",
  ),
  row(
    /in use by|device files of|is held by|goes by a PASID table|PASID .* belongs to/,
    "state",
    "something that was made on top of it is still there",
    "close or destroy that first",
  ),
  row(
    /share|cannot share|takes one group|one group/,
    "state",
    "which groups are in the container",
    "a container for each",
  ),
  row(
    /cannot be pinned|nothing is mapped at|mapped, but not for|no user (?:address|memory)|registers, which/,
    "state",
    "grep the address in /proc/PID/maps",
    "give memory that is there and writable; not a device's registers",
  ),
  row(
    /is gone|has taken its memory back|last VFIO driver/,
    "state",
    "the device was unbound or unplugged",
    "bind it to vfio-pci again",
  ),
  row(
    /no device "\{name\}"/,
    "state",
    "lspci -nnk -s BDF",
    "bind it to vfio-pci; give its full address (0000:01:00.0)",
  ),
  row(
    /dirty tracking is off|was not made for|not made as a parent/,
    "state",
    "the call that made it, and its flags",
    "switch it on, or make it with that flag",
  ),
  row(/fault was injected/, "state", "fail-nth or the host's fault injection is on", "switch it off"),
  // the arguments
  row(
    /multiple of|whole pages|aligned/,
    "arguments",
    "iova, vaddr and size, each modulo the page size (getconf PAGESIZE; a 64 KiB kernel wants 64 KiB)",
    "align them",
  ),
  row(
    /argsz|size of struct|leaves no room|must be 0|must be zero|bytes of which|has \{known\} bytes/,
    "arguments",
    "it fails on every host: the structure",
    "set argsz (size) to the size of the structure, and all that is not used to 0",
  ),
  row(
    /unknown flag|flags|exactly one|neither READ|goes (?:without|neither)|go together/,
    "arguments",
    "it fails on every host: the flags",
    "only flags of the header of this kernel; READ, WRITE or both for a mapping",
  ),
  row(
    /past 2\^64|runs up to|beyond|nearly all|more than half/,
    "arguments",
    "the sum of start and size",
    "keep the range within what there is",
  ),
  row(
    /the size is 0|length is 0|is 0$|count is 0/,
    "arguments",
    "it fails on every host: the size",
    "a size that is not 0",
  ),
  row(
    /descriptor|no file|is no eventfd/,
    "arguments",
    "strace: which file the descriptor is",
    "pass the descriptor of the right, open file",
  ),
];

const FALLBACK: Readonly<Record<ReasonAbout, Advice>> = {
  host: { about: "host", tell: "what the host has", cure: "another host or kernel" },
  state: {
    about: "state",
    tell: "the calls before it (strace -f -e ioctl, uvfio run --trace)",
    cure: "undo what is in the way",
  },
  arguments: {
    about: "arguments",
    tell: "it fails on every host: the arguments",
    cure: "give what the kernel's header asks for",
  },
};

/** What is known of a reason, as the table has it or as the model gives it. */
export function adviceOn(reason: string, errno: KnownError["errno"]): Advice {
  const found = ROWS.find(({ reason: pattern }) => pattern.test(reason));
  if (found) return { about: found.about, tell: found.tell, cure: found.cure };
  if (errno === "EBUSY" || errno === "EEXIST" || errno === "ENOENT" || errno === "EADDRINUSE") return FALLBACK.state;
  return errno === "EOPNOTSUPP" || errno === "ENOTTY" || errno === "ENODEV" ? FALLBACK.host : FALLBACK.arguments;
}

/** Whether a row says it, and not only the errno. */
export function hasAdvice(reason: string): boolean {
  return ROWS.some(({ reason: pattern }) => pattern.test(reason));
}
