/**
 * What changed between kernel releases where a program can tell. Behaviour asks this table and never compares releases
 * itself. `until` is the first release without the feature.
 */
export interface Feature {
  readonly since?: string;
  readonly until?: string;
  /** Where the change is recorded. */
  readonly source: string;
}

export const FEATURES = {
  // vfio.c, group.c
  noiommuGroups: { since: "4.5", source: "vfio: Include No-IOMMU mode (vfio.c:vfio_iommu_group_get)" },
  deviceNameOptions: {
    since: "5.7",
    source: "cc20d7999000 vfio/pci: Introduce VF token; before, vfio.c:vfio_device_get_from_name compared whole names",
  },
  mediatedDevices: { since: "4.10", source: "7b96953bc640 vfio: Mediated device Core driver" },
  // vfio_iommu_type1.c
  overlapErrno: {
    since: "3.11",
    source: "vfio: Convert type1 iommu to use rbtree; 3.6's vfio_iommu_type1.c:vfio_dma_do_map said EBUSY",
  },
  unmapSizeReported: {
    since: "3.11",
    source:
      "vfio: hugepage support for vfio_iommu_type1; 3.6's vfio_iommu_type1_ioctl wrote nothing back, and took size 0",
  },
  mappingsKeptWhole: {
    since: "3.15",
    source: "1ef3e2bc0422 vfio/iommu_type1: Multi-IOMMU domain support; before, vfio_remove_dma_overlap split them",
  },
  type1v2: { since: "3.15", source: "1ef3e2bc0422 vfio/iommu_type1: Multi-IOMMU domain support" },
  cacheCoherencyExtension: {
    since: "3.15",
    source: "vfio/type1: Add extension to test DMA cache coherence of IOMMU",
  },
  pageSizesFlag: {
    since: "4.5",
    source: "vfio/iommu_type1: make use of info.flags; before, vfio_iommu_type1_ioctl said 0",
  },
  unmapWrapChecked: {
    since: "4.15",
    source: "71a7d3d78e3c vfio/type1: silence integer overflow warning; before, vfio_dma_do_unmap found nothing there",
  },
  lastByteUnmapRefused: {
    since: "4.15",
    until: "5.0",
    source: "71a7d3d78e3c; 58fec830fc19 vfio/type1: Fix dma_unmap wrap-around check",
  },
  // vfio_iommu_spapr_tce.c
  spaprContainer: { since: "3.11", source: "powerpc/vfio: Implement IOMMU driver for VFIO (vfio_iommu_spapr_tce.c)" },
  eehExtension: { since: "3.17", source: "drivers/vfio: EEH support for VFIO PCI device (vfio_spapr_eeh.c)" },
  spaprV2: {
    since: "4.2",
    source:
      "2157e7b82f3b vfio: powerpc/spapr: Register memory and define IOMMU v2; dynamic windows are of the same cycle",
  },
  // vfio_pci.c and its parts
  virtualReset: {
    since: "4.9",
    source:
      "ddf9dc0eb531 vfio-pci: Virtualize PCIe & AF FLR; before, init_pci_cap_exp_perm and init_pci_cap_af_perm let the bit through to the device",
  },
  irqSetChecked: {
    since: "4.9",
    source:
      "05692d7005a3 vfio/pci: Fix integer overflows, bitmask check; before, vfio_pci_ioctl looked at start, count and the data type only where there was data",
  },
  virtualPayload: {
    since: "4.15",
    source: "523184972b28 vfio/pci: Virtualize Maximum Payload Size; cf0d53ba4947 ... Maximum Read Request Size",
  },
  answerErrno: {
    since: "4.5",
    source:
      "8160c4e45582 vfio: fix ioctl error handling; before, what copy_to_user() leaves over was the answer of six requests",
  },
  clippedBarAccess: {
    since: "3.9",
    source: "906ee99dd2a5 vfio-pci: Cleanup BAR access; 3.6's vfio_pci_mem_readwrite refused what ends beyond",
  },
  vgaRegion: { since: "3.9", source: "84237a826b26 vfio-pci: Add support for VGA region access" },
  errorInterrupt: {
    since: "3.10",
    source: "dad9f8972e04 VFIO-AER: Vfio-pci driver changes for supporting AER",
  },
  hotReset: { since: "3.12", source: "8b27ee60bfd6 vfio-pci: PCI hot reset interface" },
  msiCountRight: {
    since: "3.16",
    source: "vfio_pci.c:vfio_pci_get_irq_count shifts QMASK; in 3.6 and 3.10 it does not",
  },
  requestInterrupt: { since: "4.0", source: "6140a8f56238 vfio-pci: Add device request interface" },
  sparseMmapCapability: {
    since: "4.6",
    until: "4.16",
    source: "vfio/pci: Include sparse mmap capability for MSI-X table regions; gone with a32295c612c5",
  },
  smallBarsMappable: {
    since: "4.8",
    source: "05f0c03fbac1 vfio-pci: Allow to mmap sub-page MMIO BARs if the mmio page is exclusive",
  },
  msixTableMappable: { since: "4.16", source: "a32295c612c5 vfio-pci: Allow mapping MSIX BAR" },
  ioeventfd: { since: "4.17", source: "30656177c408 vfio/pci: Add ioeventfd support" },
  deviceDenylist: { since: "5.9", source: "vfio/pci: Add device denylist (vfio_pci.c: disable_denylist)" },
  coherentDevicesOnly: {
    since: "5.19",
    source: "e8ae0e140c05 vfio: Require that devices support DMA cache coherence",
  },
  vfTokens: { since: "5.7", source: "cc20d7999000 vfio/pci: Introduce VF token" },
  deviceFeature: { since: "5.7", source: "vfio: Introduce VFIO_DEVICE_FEATURE ioctl and first user" },
  memoryEnableChecked: {
    since: "5.8",
    source: "abafbc551fdd vfio-pci: Invalidate mmaps and block MMIO access on disabled memory",
  },
  deviceInfoCapabilities: {
    since: "5.10",
    source: "e6b817d4b821 vfio-pci/zdev: Add zPCI capabilities to VFIO_DEVICE_GET_INFO",
  },
  deviceFeatureOfAll: {
    since: "5.18",
    source:
      "445ad495f0ff vfio: Have the core code decode the VFIO_DEVICE_FEATURE ioctl; before, each driver had its own",
  },
  hotResetCountFirst: {
    since: "6.6",
    source: "71791b9246c7 vfio/pci: Allow passing zero-length fd array in VFIO_DEVICE_PCI_HOT_RESET",
  },
  // kinds of IOMMU
  smmuV3Driver: { since: "4.2", source: "iommu/arm-smmu: Add initial driver support for ARM SMMUv3 devices" },
  s390Driver: { since: "4.4", source: "iommu/s390: Add iommu api for s390 pci devices" },
  vtdScalableMode: { since: "5.0", source: "765b6a98c1de iommu/vt-d: Enumerate the scalable mode capability" },
  virtioIommuDriver: { since: "5.3", source: "iommu: Add virtio-iommu driver" },
  vtdFirstStage: {
    since: "5.6",
    source: "ddf09b6d43ec iommu/vt-d: Setup pasid entries for iova over first level",
  },
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
  containerFdFirst: {
    since: "6.1",
    source:
      "67671f153e6b vfio: Fold VFIO_GROUP_SET_CONTAINER into vfio_group_set_container(); in 5.15 negative numbers are EINVAL, and so is a group that is in a container, whatever the descriptor",
  },
  containerFdErrno: {
    since: "6.2",
    source:
      "2a3dab19a046 vfio: iommufd in the place of the container: group.c:vfio_group_ioctl_set_container ends with EBADFD; vfio.c:vfio_group_set_container said EINVAL",
  },
  dmaEntryLimit: { since: "5.1", source: "492855939bdb vfio/type1: Limit DMA mappings per container" },
  iovaRangeCapability: { since: "5.4", source: "a717072007e8 vfio/type1: Add IOVA range capability support" },
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
  deviceClass: {
    since: "6.1",
    source: "3c28a76124b2 vfio: Add struct device to vfio_device: vfio-dev/vfioN, also without iommufd",
  },
  zpciFunctionHandle: {
    since: "6.0",
    source: "faf3bfcb8950 vfio-pci/zdev: add function handle to clp base capability; version 2 of the group with it",
  },
  zpciRecovery: {
    since: "7.2",
    source: "a function in the error state is recovered at once: recorded on 7.2, not on 6.12 (dma_nvme_unmapped)",
  },
  zpciMmap: {
    since: "6.15",
    source:
      "aa9f168d55dc s390/pci: Support mmap() of PCI resources except for ISM devices (not on 6.12, on 7.2: recorded)",
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
  migrationStates: {
    since: "5.18",
    source:
      "115dcec65f61 vfio: Define device migration protocol v2; 8cb3d83b959b vfio: Extend the device migration protocol with RUNNING_P2P",
  },
  dmaLogging: {
    since: "6.1",
    source: "80c4b92a2dc8 vfio: Introduce the DMA logging feature support",
  },
  migrationPrecopy: {
    since: "6.2",
    source: "4db52602a607 vfio: Extend the device migration protocol with PRE_COPY",
  },
  migrationDataSize: {
    since: "6.2",
    source: "4e016f969529 vfio: Add an option to get migration data size",
  },
  lowPowerFeature: {
    since: "6.1",
    source: "39f62fb82a21 vfio: Add the device features for the low power entry and exit",
  },
  vectorsCounted: {
    until: "6.5",
    source:
      "63972f63a63f vfio/pci: Remove interrupt context counter; before, vfio_msi_set_block and vfio_pci_set_msi_trigger compared with num_ctx",
  },
  dynamicMsix: { since: "6.5", source: "6c8017c6a58d vfio/pci: Support dynamic MSI-X" },
  qwordBarAccess: {
    since: "6.11",
    source: "2b938e3db335 vfio/pci: Extract duplicated code into macro, and the 8-byte loads and stores after it",
  },
  qwordEverywhere: {
    since: "6.12",
    source:
      "vfio/pci: Enable iowrite64 and ioread64 for vfio pci, of 6.14; before, x86 had no macro of that name (CONFIG_GENERIC_IOMAP). The stable releases of 6.12 have it too: recorded (d_bar_rw)",
  },
  zpciQwordEvents: {
    until: "7.2",
    source:
      "8-byte ioeventfds on s390: recorded on 6.12 and refused on 7.2 (s_ioeventfd_C); what refuses them was not found",
  },
  nestingType: {
    since: "3.18",
    until: "6.13",
    source: "f5c9ecebaf2a vfio/iommu_type1: add new VFIO_TYPE1_NESTING_IOMMU IOMMU type; 35890f85573c removed it",
  },
  overflowErrno: {
    since: "6.18",
    source: "16df67f2189a vfio/type1: sanitize for overflow using check_*_overflow()",
  },
  lastByteUsable: {
    since: "6.18",
    source: "ef270ec4c5d1 vfio/type1: handle DMA map/unmap up to the addressable limit",
  },
  dmaBufFeature: { since: "6.19", source: "5d74781ebc86 vfio/pci: Add dma-buf export support for MMIO regions" },
  dmaBufBarChecked: {
    since: "7.2",
    source:
      "vfio/pci: Set up BAR resources and maps in vfio_pci_core_enable(): a BAR that is not there or is another's is ENODEV; in stable series of 7.0 and 7.1 as well",
  },
  writeOnlyDenied: {
    since: "6.19",
    source:
      "d373449d8e97 iommu/vt-d: Use the generic iommu page table; before, READ was the present bit. Recorded on 7.2 (dma_writeonly)",
  },
  precopyInfoV2: {
    since: "7.2",
    source:
      "50ff3f404617 vfio: Add support for VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2; recorded on 7.2, not on 6.12 (d_feature_A)",
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
  noIommuInIommufd: {
    since: "6.3",
    source:
      "c9a397cee9f5 vfio: Support VFIO_NOIOMMU with iommufd; before, device.c:iommufd_device_bind refused devices without IOMMU_CAP_CACHE_COHERENCY",
  },
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
  softwareMsi: { since: "6.15", source: "40f5175d0eb7 iommufd: Implement sw_msi support natively" },
  hwptPasidFlag: { since: "6.15", source: "dbc5f37b4f8a iommufd: Allow allocating PASID-compatible domain" },
  pasidAttach: { since: "6.15", source: "ad744ed5dd8b vfio: VFIO_DEVICE_[AT|DE]TACH_IOMMUFD_PT support pasid" },
  virtualIommuQueues: { since: "6.17", source: "2238ddc2b056 iommufd/viommu: Add IOMMUFD_CMD_HW_QUEUE_ALLOC ioctl" },
  bindToken: { since: "6.17", source: "86624ba3b522 vfio/pci: Do vf_token checks for VFIO_DEVICE_BIND_IOMMUFD" },
  hwInfoInputType: { since: "6.17", source: "iommufd: Allow an input data_type via iommu_hw_info" },
  selftestCommand: {
    since: "7.2",
    source: "drivers/iommu/iommufd/iommufd_test.h and selftest.c as of 7.2; earlier ones have fewer operations",
  },
  lastByteRefused: {
    since: "7.1",
    source:
      "iommupt: Directly call iommupt's map_range(): what is empty is EINVAL, and pages.c:batch_to_domain asks for that when last_iova + 1 is 0; recorded on 7.2",
  },
  secondOfGroupRefused: {
    since: "7.2",
    source: "recorded on 7.2 (fd_attach_shared_group); what refuses it there was not found",
  },
  hwInfoAts: {
    since: "7.1",
    source: "a11661a58c06 iommufd: Report ATS not supported status via IOMMU_GET_HW_INFO; recorded on 7.2 (fd_hw_info)",
  },
} as const satisfies Record<string, Feature>;
