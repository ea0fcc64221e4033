import { alignedU64, type Decoded, type FieldType, type Layout, overlay, s32, struct, u32, u64 } from "./layout.ts";

/**
 * The request that a kernel built for its own tests has (CONFIG_IOMMUFD_TEST), and the structures of the IOMMU that it
 * makes up for them. Source of everything here: drivers/iommu/iommufd/iommufd_test.h, which no program installs.
 */

/** Argument: IommuTestCmd. */
export const IOMMU_TEST_CMD = 0x3ba0;

export const IOMMU_TEST_OP_ADD_RESERVED = 1;
export const IOMMU_TEST_OP_MOCK_DOMAIN = 2;
export const IOMMU_TEST_OP_MD_CHECK_MAP = 3;
export const IOMMU_TEST_OP_MD_CHECK_REFS = 4;
export const IOMMU_TEST_OP_CREATE_ACCESS = 5;
export const IOMMU_TEST_OP_DESTROY_ACCESS_PAGES = 6;
export const IOMMU_TEST_OP_ACCESS_PAGES = 7;
export const IOMMU_TEST_OP_ACCESS_RW = 8;
export const IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT = 9;
export const IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE = 10;
export const IOMMU_TEST_OP_ACCESS_REPLACE_IOAS = 11;
export const IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS = 12;
export const IOMMU_TEST_OP_DIRTY = 13;
export const IOMMU_TEST_OP_MD_CHECK_IOTLB = 14;
export const IOMMU_TEST_OP_TRIGGER_IOPF = 15;
export const IOMMU_TEST_OP_DEV_CHECK_CACHE = 16;
export const IOMMU_TEST_OP_TRIGGER_VEVENT = 17;
export const IOMMU_TEST_OP_PASID_ATTACH = 18;
export const IOMMU_TEST_OP_PASID_REPLACE = 19;
export const IOMMU_TEST_OP_PASID_DETACH = 20;
export const IOMMU_TEST_OP_PASID_CHECK_HWPT = 21;
export const IOMMU_TEST_OP_DMABUF_GET = 22;
export const IOMMU_TEST_OP_DMABUF_REVOKE = 23;

/** What the tests' page tables translate, and their smallest pages, in bytes. */
export const MOCK_APERTURE_START = 1 << 24;
export const MOCK_APERTURE_LAST = 2 ** 31 - 1;
export const MOCK_PAGE_SIZE = 2048;
export const MOCK_HUGE_PAGE_SIZE = 512 * MOCK_PAGE_SIZE;

/** `pagetable_type` of IommuHwptSelftest. */
export const MOCK_IOMMUPT_DEFAULT = 0;
export const MOCK_IOMMUPT_HUGE = 1;

export const MOCK_FLAGS_ACCESS_WRITE = 1 << 0;
/** The IOVA says which mapping, counted from the lowest, in its low half, and an offset in it in its high half. */
export const MOCK_FLAGS_ACCESS_SYZ = 1 << 16;
export const MOCK_ACCESS_RW_WRITE = 1 << 0;
export const MOCK_ACCESS_RW_SLOW_PATH = 1 << 2;
export const MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES = 1 << 0;
export const MOCK_FLAGS_DEVICE_NO_DIRTY = 1 << 0;
export const MOCK_FLAGS_DEVICE_PASID = 1 << 2;
export const MOCK_NESTED_DOMAIN_IOTLB_NUM = 4;
export const MOCK_DEV_CACHE_NUM = 4;
/** The PASID with which every second change of what a device is attached to fails. */
export const IOMMU_TEST_PASID_RESERVED = 1024;

const MOCK_DOMAIN = { out_stdev_id: u32, out_hwpt_id: u32, out_idev_id: u32 };

/** A member of the union, which lies where the first one does. */
function member<F extends Record<string, FieldType<unknown>>>(layout: Layout<F>): FieldType<Decoded<F>> {
  return overlay<Decoded<F>>("add_reserved", layout);
}

/**
 * Argument of IOMMU_TEST_CMD. In: what to do, and with which object (`id`); `last` ends the first version. One member
 * of the union counts, that of `op`; `mock_domain_flags` has its own beside `mock_domain`'s.
 */
export const IommuTestCmd = struct("iommu_test_cmd", {
  size: u32,
  op: u32,
  id: u32,
  __reserved: u32,
  add_reserved: struct("add_reserved", { start: alignedU64, length: alignedU64 }),
  mock_domain: member(struct("mock_domain", MOCK_DOMAIN)),
  mock_domain_flags: member(struct("mock_domain_flags", { ...MOCK_DOMAIN, dev_flags: u32 })),
  mock_domain_replace: member(struct("mock_domain_replace", { pt_id: u32 })),
  check_map: member(struct("check_map", { iova: alignedU64, length: alignedU64, uptr: alignedU64 })),
  check_refs: member(struct("check_refs", { length: alignedU64, uptr: alignedU64, refs: u32 })),
  create_access: member(struct("create_access", { out_access_fd: u32, flags: u32 })),
  destroy_access_pages: member(struct("destroy_access_pages", { access_pages_id: u32 })),
  access_pages: member(
    struct("access_pages", {
      flags: u32,
      out_access_pages_id: u32,
      iova: alignedU64,
      length: alignedU64,
      uptr: alignedU64,
    }),
  ),
  access_rw: member(struct("access_rw", { iova: alignedU64, length: alignedU64, uptr: alignedU64, flags: u32 })),
  memory_limit: member(struct("memory_limit", { limit: u32 })),
  access_replace_ioas: member(struct("access_replace_ioas", { ioas_id: u32 })),
  dirty: member(
    struct("dirty", {
      flags: u32,
      iova: alignedU64,
      length: alignedU64,
      page_size: alignedU64,
      uptr: alignedU64,
      out_nr_dirty: alignedU64,
    }),
  ),
  check_iotlb: member(struct("check_iotlb", { id: u32, iotlb: u32 })),
  trigger_iopf: member(struct("trigger_iopf", { dev_id: u32, pasid: u32, grpid: u32, perm: u32, addr: u64 })),
  check_dev_cache: member(struct("check_dev_cache", { id: u32, cache: u32 })),
  trigger_vevent: member(struct("trigger_vevent", { dev_id: u32 })),
  pasid_attach: member(struct("pasid_attach", { pasid: u32, pt_id: u32 })),
  pasid_replace: member(struct("pasid_replace", { pasid: u32, pt_id: u32 })),
  pasid_detach: member(struct("pasid_detach", { pasid: u32 })),
  pasid_check: member(struct("pasid_check", { pasid: u32, hwpt_id: u32 })),
  dmabuf_get: member(struct("dmabuf_get", { length: u32, open_flags: u32 })),
  dmabuf_revoke: member(struct("dmabuf_revoke", { dmabuf_fd: s32, revoked: u32 })),
  last: u32,
});

/** Which member of the union counts, by operation. */
export const TEST_CMD_MEMBERS: ReadonlyMap<number, keyof typeof IommuTestCmd.offsets> = new Map([
  [IOMMU_TEST_OP_ADD_RESERVED, "add_reserved"],
  [IOMMU_TEST_OP_MOCK_DOMAIN, "mock_domain"],
  [IOMMU_TEST_OP_MD_CHECK_MAP, "check_map"],
  [IOMMU_TEST_OP_MD_CHECK_REFS, "check_refs"],
  [IOMMU_TEST_OP_CREATE_ACCESS, "create_access"],
  [IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, "destroy_access_pages"],
  [IOMMU_TEST_OP_ACCESS_PAGES, "access_pages"],
  [IOMMU_TEST_OP_ACCESS_RW, "access_rw"],
  [IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT, "memory_limit"],
  [IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, "mock_domain_replace"],
  [IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, "access_replace_ioas"],
  [IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, "mock_domain_flags"],
  [IOMMU_TEST_OP_DIRTY, "dirty"],
  [IOMMU_TEST_OP_MD_CHECK_IOTLB, "check_iotlb"],
  [IOMMU_TEST_OP_TRIGGER_IOPF, "trigger_iopf"],
  [IOMMU_TEST_OP_DEV_CHECK_CACHE, "check_dev_cache"],
  [IOMMU_TEST_OP_TRIGGER_VEVENT, "trigger_vevent"],
  [IOMMU_TEST_OP_PASID_ATTACH, "pasid_attach"],
  [IOMMU_TEST_OP_PASID_REPLACE, "pasid_replace"],
  [IOMMU_TEST_OP_PASID_DETACH, "pasid_detach"],
  [IOMMU_TEST_OP_PASID_CHECK_HWPT, "pasid_check"],
  [IOMMU_TEST_OP_DMABUF_GET, "dmabuf_get"],
  [IOMMU_TEST_OP_DMABUF_REVOKE, "dmabuf_revoke"],
] as const);

export const IOMMU_HW_INFO_TYPE_SELFTEST = 0xfeed_beef;
export const IOMMU_HW_INFO_SELFTEST_REGVAL = 0xdead_beef;

/** Out: what the tests' IOMMU says of itself. */
export const IommuTestHwInfo = struct("iommu_test_hw_info", { flags: u32, test_reg: u32 });

export const IOMMU_HWPT_DATA_SELFTEST = 0xdead;
export const IOMMU_TEST_IOTLB_DEFAULT = 0xbad_beef;
export const IOMMU_TEST_DEV_CACHE_DEFAULT = 0xbad_dad;

/** In: what a page table is to be like. Its first version ended with `iotlb`: what all of its TLB's entries hold. */
export const IommuHwptSelftest = struct("iommu_hwpt_selftest", { iotlb: u32, pagetable_type: u32 });

export const IOMMU_HWPT_INVALIDATE_DATA_SELFTEST = 0xdead_beef;
/** All entries: the number of one does not count. */
export const IOMMU_TEST_INVALIDATE_FLAG_ALL = 1 << 0;

/** One invalidation of a nested page table. */
export const IommuHwptInvalidateSelftest = struct("iommu_hwpt_invalidate_selftest", { flags: u32, iotlb_id: u32 });

export const IOMMU_VIOMMU_TYPE_SELFTEST = 0xdead_beef;

/** In: `in_data`. Out: the same as `out_data`, and memory to map that begins with it. */
export const IommuViommuSelftest = struct("iommu_viommu_selftest", {
  in_data: u32,
  out_data: u32,
  out_mmap_offset: alignedU64,
  out_mmap_length: alignedU64,
});

export const IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST = 0xdead_beef;

/** One invalidation of a virtual IOMMU: of a device by the number that it has there. */
export const IommuViommuInvalidateSelftest = struct("iommu_viommu_invalidate_selftest", {
  flags: u32,
  vdev_id: u32,
  cache_id: u32,
});

export const IOMMU_VEVENTQ_TYPE_SELFTEST = 0xbeef_beef;

/** Out: an event of the device that has this number. */
export const IommuViommuEventSelftest = struct("iommu_viommu_event_selftest", { virt_id: u32 });

export const IOMMU_HW_QUEUE_TYPE_SELFTEST = 0xdead_beef;
export const IOMMU_TEST_HW_QUEUE_MAX = 2;
