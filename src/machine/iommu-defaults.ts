import type {
  Arch,
  IommuModel,
  ReservedRegionDescription,
  SpaprDescription,
  SpaprPlatform,
} from "./host-description.ts";

const ALL_64_BITS = 0xffff_ffff_ffff_ffffn;

/** x86 interrupts are writes to this window (0xFEExxxxx, Intel SDM vol. 3, "Message Address Register Format"); every x86 recording shows it. */
export const X86_MSI_WINDOW: ReservedRegionDescription = { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: "msi" };

/** Where the kernel maps MSI doorbells on Arm: MSI_IOVA_BASE and _LENGTH (drivers/iommu/arm/arm-smmu-v3, virtio-iommu.c); recorded on smmuv3. */
export const ARM_SOFTWARE_MSI_WINDOW: ReservedRegionDescription = {
  start: 0x800_0000n,
  last: 0x80f_ffffn,
  type: "msi",
};

/** HyperTransport's own addresses just below 1 TiB (amd_iommu_types.h: HT_RANGE_START, HT_RANGE_END; the iova-list mail; recorded on amd-ivmd). */
export const AMD_HYPERTRANSPORT: ReservedRegionDescription = {
  start: 0xfd_0000_0000n,
  last: 0xff_ffff_ffffn,
  type: "reserved",
};

/** The highest address that `bits` address bits can name. */
export function lastOfBits(bits: number): bigint {
  return (1n << BigInt(bits)) - 1n;
}

/**
 * The last IOVA of a domain on an IOMMU with so many address bits. First-stage tables are the CPU's, whose addresses are
 * signed: only the lower half is given out (drivers/iommu/intel/iommu.c sets aperture_end from gaw - 1 with use_first_level;
 * recorded: intelsm has 48 bits and ends at 0x7fffffffffff).
 */
export function lastOfAddressBits(model: IommuModel, bits: number): bigint {
  return lastOfBits(model === "intel-vtd-sm" ? bits - 1 : bits);
}

/** The aperture when nothing else tells. First and last byte. */
export function defaultAperture(model: IommuModel): { readonly start: bigint; readonly last: bigint } {
  switch (model) {
    case "intel-vtd":
      // Four-level tables, the common width of hardware.
      return { start: 0n, last: lastOfBits(48) };
    case "intel-vtd-sm":
      return { start: 0n, last: lastOfAddressBits(model, 48) };
    case "arm-smmu-v3":
      // Recorded on smmuv3, whose address_bits are null: 48 bits are what SMMUv3 has without 52-bit addresses.
      return { start: 0n, last: lastOfBits(48) };
    case "s390":
      // What QEMU's zPCI announces (hw/s390x/s390-pci-bus.h: ZPCI_SDMA_ADDR, ZPCI_EDMA_ADDR). Not recorded.
      return { start: 0x1_0000_0000n, last: 0x1ff_ffff_ffff_ffffn };
    default:
      // amd-vi: the v1 table grows to 64 bits (recorded: ranges end at 2^64-1). virtio-iommu: the device says, and its
      // default is all. spapr-tce replaces this by its window. none: nothing translates, nothing limits.
      return { start: 0n, last: ALL_64_BITS };
  }
}

/** The page sizes when nothing else tells: a bitmap in bytes. */
export function defaultPageSizes(model: IommuModel, pageSize: number, platform: SpaprPlatform = "pseries"): bigint {
  switch (model) {
    case "intel-vtd":
    case "intel-vtd-sm":
      // 4 KiB, 2 MiB, 1 GiB (recorded on intel39 and intelsm).
      return 0x4020_1000n;
    case "amd-vi":
      // Every power of two except 512 GiB and those beyond 2^51 (recorded on amd-ivmd, with 6.12's v1 table).
      return 0xf_ff7f_ffff_f000n;
    case "virtio-iommu":
      return 0xffff_ffff_ffff_f000n;
    case "arm-smmu-v3":
      // One granule is in use, the kernel's page size (io-pgtable-arm.c: arm_lpae_restrict_pgsizes); 4 KiB as recorded.
      if (pageSize === 0x4000) return 0x200_4000n;
      if (pageSize === 0x10000) return 0x2001_0000n;
      return 0x4020_1000n;
    case "spapr-tce":
      // As the recordings' TCE_GET_INFO says: 4K 64K 16M 256M, 4K 64K 2M 1G, 4K 64K 2M 16M.
      if (platform === "powernv8") return 0x1101_1000n;
      return platform === "pseries" ? 0x121_1000n : 0x4021_1000n;
    case "s390":
      // drivers/iommu/s390-iommu.c: SZ_4K.
      return 0x1000n;
    case "none":
      return 0n;
  }
}

/**
 * Whether the IOMMU can force snooping: AMD-Vi always does (recorded: CHECK_EXTENSION(4) is 1 there); the emulated VT-d, SMMUv3
 * and virtio-iommu say 0. Real VT-d nearly always can: a description of real hardware says so itself, as hosts/intel.ts does.
 */
export function defaultCacheCoherent(model: IommuModel): boolean {
  return model === "amd-vi";
}

/**
 * Whether interrupts are isolated. VT-d and AMD-Vi remap them. virtio-iommu on x86 has nothing for it (recorded: SET_IOMMU is
 * EPERM on virtio-safe); on Arm the ITS tells devices apart, whatever the IOMMU. POWER and s390 check in firmware and hardware.
 */
export function defaultInterruptRemapping(model: IommuModel, arch: Arch): boolean {
  if (model === "none") return false;
  return model === "virtio-iommu" ? arch !== "x86_64" : true;
}

/** The regions of a group that does not list any. */
export function defaultReservedRegions(model: IommuModel, arch: Arch): readonly ReservedRegionDescription[] {
  switch (model) {
    case "intel-vtd":
    case "intel-vtd-sm":
      return [X86_MSI_WINDOW];
    case "amd-vi":
      return [X86_MSI_WINDOW, AMD_HYPERTRANSPORT];
    case "arm-smmu-v3":
      return [ARM_SOFTWARE_MSI_WINDOW];
    case "virtio-iommu":
      return [arch === "x86_64" ? X86_MSI_WINDOW : ARM_SOFTWARE_MSI_WINDOW];
    default:
      return [];
  }
}

/** The content of a group's `type` file. POWER's default domain has a kind that sysfs has no word for; no-IOMMU groups have none. */
export function defaultGroupType(model: IommuModel): string {
  return model === "none" || model === "spapr-tce" ? "unknown" : "DMA";
}

/** The machine that an IOMMU is usually found in. */
export function defaultArch(model: IommuModel): Arch {
  switch (model) {
    case "arm-smmu-v3":
      return "arm64";
    case "spapr-tce":
      return "ppc64le";
    case "s390":
      return "s390x";
    default:
      return "x86_64";
  }
}

/** As recorded by TCE_GET_INFO on each platform. */
export function defaultSpapr(platform: SpaprPlatform): SpaprDescription {
  const pseries = platform === "pseries";
  return {
    platform,
    dma32WindowStart: 0n,
    dma32WindowSize: pseries ? 0x4000_0000n : 0x8000_0000n,
    maxDynamicWindows: 2,
    levels: pseries ? 1 : 5,
  };
}
