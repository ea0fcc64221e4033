/**
 * What changed between kernel releases where a program can tell. Behaviour asks this table and never compares releases
 * itself. `until` is the first release without the feature.
 */
interface Feature {
  readonly since?: string;
  readonly until?: string;
  /** Where the change is recorded. */
  readonly source: string;
}

const FEATURES = {
  rmrrIneligible: {
    since: "3.17",
    until: "6.6",
    source:
      "c875d2c1b808 iommu/vt-d: Exclude devices using RMRRs from IOMMU API domains (intel-iommu.c:intel_iommu_attach_device)",
  },
  groupOwnership: {
    since: "5.19",
    source:
      "70693f470848 vfio: Set DMA ownership for VFIO devices; before, vfio.c:vfio_group_get_device_fd asked vfio_group_viable",
  },
  reportedPageSizes: {
    since: "5.15",
    source:
      "a886d5a7e67b iommu/vt-d: Report real pgsize bitmap to iommu core; before, INTEL_IOMMU_PGSIZES (intel-iommu.c) for every unit",
  },
  containerFdErrno: {
    since: "6.2",
    source:
      "2a3dab19a046 vfio: iommufd in the place of the container: group.c:vfio_group_ioctl_set_container ends with EBADFD; vfio.c:vfio_group_set_container said EINVAL",
  },
  dmaEntryLimit: { since: "5.1", source: "492855939bdb vfio/type1: Limit DMA mappings per container" },
  iovaRangeCapability: { since: "5.4", source: "a717072007e8 vfio/type1: Add IOVA range capability support" },
  vfTokens: {
    since: "5.7",
    source:
      "cc20d7999000 vfio/pci: Introduce VF token; 43eeeecc8ed5 vfio: Introduce VFIO_DEVICE_FEATURE ioctl and first user",
  },
  vgaRegion: { since: "3.9", source: "84237a826b26 vfio-pci: Add support for VGA region access" },
  coherentDevicesOnly: {
    since: "5.19",
    source: "e8ae0e140c05 vfio: Require that devices support DMA cache coherence",
  },
  validIovaEnforced: {
    since: "5.4",
    source: "9b77e5c79840 vfio/type1: check dma map request is within a valid iova range",
  },
  migrationCapability: { since: "5.8", source: "ad721705d09c vfio iommu: Add migration capability" },
  dirtyPages: { since: "5.8", source: "d6a4c185660c vfio iommu: Implementation of ioctl for dirty pages tracking" },
  dmaAvailCapability: { since: "5.10", source: "7d6e1329652e vfio iommu: Add dma available capability" },
  iommuUapiArgsz: {
    since: "5.10",
    source: "iommu/uapi: Add argsz for user filled data; only the vSVA proposals use it (UAPI of <linux/iommu.h>)",
  },
  unmapAll: { since: "5.12", source: "c19650995374 vfio/type1: implement unmap all" },
  updateVaddr: { since: "5.12", source: "c3cbab24db38 vfio/type1: implement interfaces to update vaddr" },
  wholeInfoWritten: {
    since: "6.6",
    source:
      "a881b496941f vfio: align capability structures; the info structures got explicit padding in the same cycle",
  },
  alignedCapabilities: { since: "6.6", source: "a881b496941f vfio: align capability structures" },
  directRegionsRefused: {
    since: "6.6",
    source: "a48ce36e2786 iommu: Prevent RESV_DIRECT devices from blocking domains",
  },
  pinnedPagesOnly: {
    since: "6.0",
    source: "vfio: Replace phys_pfn with pages for vfio_pin_pages()",
  },
  lowPowerFeature: {
    since: "6.1",
    source: "39f62fb82a21 vfio: Add the device features for the low power entry and exit",
  },
  dynamicMsix: { since: "6.5", source: "6c8017c6a58d vfio/pci: Support dynamic MSI-X" },
  qwordBarAccess: {
    since: "6.11",
    source: "2b938e3db335 vfio/pci: Extract duplicated code into macro, and the 8-byte loads and stores after it",
  },
  nestingType: { until: "6.13", source: "35890f85573c vfio: Remove VFIO_TYPE1_NESTING_IOMMU" },
  overflowErrno: {
    since: "6.18",
    source: "16df67f2189a vfio/type1: sanitize for overflow using check_*_overflow()",
  },
  lastByteUsable: {
    since: "6.18",
    source: "ef270ec4c5d1 vfio/type1: handle DMA map/unmap up to the addressable limit",
  },
  dmaBufFeature: { since: "6.19", source: "5d74781ebc86 vfio/pci: Add dma-buf export support for MMIO regions" },
  writeOnlyDenied: {
    since: "6.19",
    source:
      "d373449d8e97 iommu/vt-d: Use the generic iommu page table; before, READ was the present bit. Recorded on 7.2 (dma_writeonly)",
  },
  precopyInfoV2: {
    since: "7.2",
    source: "VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2: recorded on 7.2, not on 6.12 (d_feature_A)",
  },
  tceUnmapEndChecked: {
    since: "7.2",
    source:
      "arch/powerpc/kernel/iommu.c:iommu_tce_check_ioba looks at the end; recorded on 7.2, not on 6.12 (x01, x05, x07)",
  },
  tceShiftWraps: {
    until: "7.2",
    source: "a page_shift of 128 + k passes for k: undefined in C, so in the recorded build of 6.12, not of 7.2 (x03)",
  },
  // Checked against the pull requests of each cycle ("iommufd for 6.6" and so on) and the commits that came with them.
  iommufd: { since: "6.2", source: "2ff4bed7fee7 iommufd: File descriptor, context, kconfig and makefiles" },
  deviceNodes: { since: "6.6", source: "5fcc26969a16 vfio: Add VFIO_DEVICE_BIND_IOMMUFD" },
  hwptAlloc: {
    since: "6.6",
    source: "iommufd: Add IOMMU_HWPT_ALLOC; iommufd: Add IOMMU_GET_HW_INFO",
  },
  hwptDirtyTracking: {
    since: "6.7",
    source: "e2a4b2947849 iommufd: Add IOMMU_HWPT_SET_DIRTY_TRACKING; NEST_PARENT is of the same cycle",
  },
  dirtyBitmapPinnedLate: {
    since: "6.11",
    source: "7a7bba16244a iommufd/iova_bitmap: Dynamic pinning on iova_bitmap_set()",
  },
  dirtyBitsOutliveTracking: {
    since: "6.19",
    source:
      "d373449d8e97, 789a5913b29c Use the generic iommu page table: iommu_pt.h does not ask whether tracking is on",
  },
  hwptInvalidate: { since: "6.8", source: "8c6eabae3807 iommufd: Add IOMMU_HWPT_INVALIDATE" },
  iommuFaultQueue: { since: "6.11", source: "07838f7fd529 iommufd: Add iommufd fault object" },
  hwptFaultFlag: {
    since: "6.13",
    source:
      "cbeb1b7eee2f iommufd: Enable PRI when doing the iommufd_hwpt_alloc: IOMMU_HWPT_FAULT_ID_VALID over an ioas",
  },
  virtualIommus: {
    since: "6.13",
    source:
      "f4986a72d6e4 Add IOMMU_IOAS_MAP_FILE; 829ed626499c Add IOMMU_IOAS_CHANGE_PROCESS; Add IOMMU_VIOMMU_ALLOC ioctl",
  },
  virtualIommuEvents: {
    since: "6.15",
    source: "e36ba5ab808e iommufd: Add IOMMUFD_OBJ_VEVENTQ and IOMMUFD_CMD_VEVENTQ_ALLOC",
  },
  hwptPasidFlag: { since: "6.15", source: "dbc5f37b4f8a iommufd: Allow allocating PASID-compatible domain" },
  pasidAttach: { since: "6.15", source: "ad744ed5dd8b vfio: VFIO_DEVICE_[AT|DE]TACH_IOMMUFD_PT support pasid" },
  virtualIommuQueues: { since: "6.17", source: "2238ddc2b056 iommufd/viommu: Add IOMMUFD_CMD_HW_QUEUE_ALLOC ioctl" },
  bindToken: { since: "6.17", source: "86624ba3b522 vfio/pci: Do vf_token checks for VFIO_DEVICE_BIND_IOMMUFD" },
  hwInfoInputType: { since: "6.17", source: "iommufd: Allow an input data_type via iommu_hw_info" },
  hwInfoAts: {
    since: "7.1",
    source: "a11661a58c06 iommufd: Report ATS not supported status via IOMMU_GET_HW_INFO; recorded on 7.2 (fd_hw_info)",
  },
} as const satisfies Record<string, Feature>;

export type FeatureName = keyof typeof FEATURES;

/** The releases in which something changed, the oldest first: those that are worth a try. */
export function changingReleases(): readonly string[] {
  const names = Object.values<Feature>(FEATURES).flatMap(({ since, until }) => [since, until]);
  const known = [...new Set(names)].filter((name): name is string => name !== undefined);
  return known.sort((a, b) => releaseNumber(a)! - releaseNumber(b)!);
}

/** A kernel release, `major.minor`. */
export class Release {
  readonly name: string;
  readonly #has: ReadonlySet<FeatureName>;

  constructor(name: string) {
    const number = releaseNumber(name);
    if (number === undefined) throw new RangeError(`not a kernel release: "${name}" (write it like 6.12)`);
    this.name = name;
    this.#has = new Set(
      (Object.keys(FEATURES) as FeatureName[]).filter((key) => {
        const { since, until }: Feature = FEATURES[key];
        return (!since || number >= releaseNumber(since)!) && (!until || number < releaseNumber(until)!);
      }),
    );
  }

  has(feature: FeatureName): boolean {
    return this.#has.has(feature);
  }
}

/** The first release that has VFIO, and the newest that this table was checked against. */
export const OLDEST_RELEASE = "3.6";
export const NEWEST_RELEASE = "7.2";

/**
 * The release that a person means: `6.12`, `5.4.0`, or what `uname -r` prints (`6.12.107+deb13-amd64`). Undefined when the text names none.
 * @returns `major.minor`
 */
export function releaseFrom(text: string): string | undefined {
  const match = /^(\d{1,3})\.(\d{1,4})(?:[.+~_-][\w.+~-]{0,100})?$/.exec(text);
  return match ? `${Number(match[1])}.${Number(match[2])}` : undefined;
}

/** Why a release cannot be asked for; undefined when it can. */
export function refuseRelease(text: string): string | undefined {
  const name = releaseFrom(text);
  if (name === undefined) return "not a kernel release (write it like 6.12, or as uname -r prints it)";
  if (releaseNumber(name)! < releaseNumber(OLDEST_RELEASE)!)
    return `older than VFIO, which came with ${OLDEST_RELEASE}`;
  return undefined;
}

/** What to say of a release that is newer than all that is known of them: it answers as the newest that is. */
export function releaseWarning(name: string): string | undefined {
  if (releaseNumber(name)! <= releaseNumber(NEWEST_RELEASE)!) return undefined;
  return `kernel ${name} is newer than ${NEWEST_RELEASE}, the newest that uvfio knows: it answers as ${NEWEST_RELEASE} does`;
}

/** A release as one comparable number; undefined when the text is none. */
export function releaseNumber(name: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,4})$/.exec(name);
  return match ? Number(match[1]) * 10000 + Number(match[2]) : undefined;
}
