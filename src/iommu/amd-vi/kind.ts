import { fail } from "../../kernel/errors.ts";
import { IOMMU_HW_INFO_TYPE_AMD, IOMMU_HWPT_ALLOC_DIRTY_TRACKING, IommuHwInfoAmd } from "../../uapi/iommufd-hwpt.ts";
import { ALL_64_BITS, bitsOfLast, lastOfBits } from "../address-bits.ts";
import { type IommuKind, type KnownRegion, PLAIN_DRIVER } from "../kind.ts";
import { X86_MSI_WINDOW } from "../known-regions.ts";

/**
 * HyperTransport's own addresses just below 1 TiB (amd_iommu_types.h: HT_RANGE_START, HT_RANGE_END; the iova-list mail;
 * recorded on amd-ivmd).
 */
const HYPERTRANSPORT: KnownRegion = {
  region: { start: 0xfd_0000_0000n, last: 0xff_ffff_ffffn, type: "reserved" },
  name: "AMD's HyperTransport addresses",
};

/**
 * The extended feature register as QEMU has it: prefetch, page requests, guest translation, invalidation of everything,
 * guest APIC, error registers, six levels of either table (AMD I/O Virtualization specification, MMIO offset 0030h).
 */
const FEATURES = 0x29d3n;
/** What it has with dirty tracking: HASup and HDSup, access and dirty bits in host page tables. */
const DIRTY_FEATURES = (1n << 49n) | (1n << 52n);

export const amdVi: IommuKind = {
  model: "amd-vi",
  title: "AMD-Vi",
  translates: true,
  usualArch: "x86_64",
  cpuVendor: "amd",
  defaults: {
    // the v1 table grows to 64 bits (recorded: ranges end at 2^64-1)
    aperture: { start: 0n, last: ALL_64_BITS },
    lastOfBits,
    bitsOfLast,
    // every power of two except 512 GiB and those beyond 2^51 (recorded on amd-ivmd, with 6.12's v1 table)
    pageSizes: () => 0xf_ff7f_ffff_f000n,
    // recorded: CHECK_EXTENSION(VFIO_DMA_CC_IOMMU) is 1
    cacheCoherent: true,
    interruptRemapping: () => true,
    reservedRegions: () => [X86_MSI_WINDOW, HYPERTRANSPORT],
    groupType: "DMA",
    container: "type1",
  },
  ownKeys: [],
  makeNesting: undefined,
  tracksDirtyPages: "yes",
  driver: {
    ...PLAIN_DRIVER,
    // its tables grow by a level (amd/io_pgtable.c:increase_address_space)
    beyondAperture: undefined,
  },
  // amd/iommu.c:amd_iommu_domain_alloc_paging_flags, amd/iommufd.c. PASIDs need the second kind of page table.
  iommufd: {
    hwptFlags: IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
    nests: false,
    virtualIommus: [{ type: "any", make: () => fail("EOPNOTSUPP", "AMD-Vi makes no parents for virtual IOMMUs here") }],
    refusesLastByte: (release) => release.has("lastByteRefused"),
    infoType: IOMMU_HW_INFO_TYPE_AMD,
    info: (unit) => IommuHwInfoAmd.encode({ efr: FEATURES | (unit.dirtyTracking ? DIRTY_FEATURES : 0n) }),
  },
  sysfs: {
    name: "ivhd0",
    names: /^ivhd\d+$/,
    attributes: ({ dirtyTracking }) => [
      ["amd-iommu/cap", "40"],
      // EFR bits 0 and 2, PreFSup and XTSup, tell nothing that a program decides on
      ["amd-iommu/features", (5n | (dirtyTracking ? DIRTY_FEATURES : 0n)).toString(16)],
    ],
    capture: (source) => {
      const features = source.register("amd-iommu/features") ?? 0n;
      return {
        model: "amd-vi",
        ...((features & DIRTY_FEATURES) === DIRTY_FEATURES && { dirty_tracking: true }),
      };
    },
  },
};
