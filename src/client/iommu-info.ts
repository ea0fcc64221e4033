import { type ParsedCapability, parseCapabilityChain } from "../uapi/capability-chain.ts";
import { StructView } from "../uapi/struct-view.ts";
import {
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  VfioIommuType1Info,
  VfioIommuType1InfoCapIovaRange,
  VfioIommuType1InfoCapMigration,
  VfioIommuType1InfoDmaAvail,
  VfioIovaRange,
} from "../uapi/vfio-type1.ts";

/** IOVAs in bytes; both ends belong to it. */
export interface IovaRange {
  /** First byte. */
  readonly start: bigint;
  /** Last byte. */
  readonly last: bigint;
}

/** What capability 2 says about dirty page tracking. */
export interface MigrationInfo {
  /** None is defined. */
  readonly flags: number;
  /** Page sizes that a bitmap may be asked for in: bit n is 2^n bytes. */
  readonly pageSizes: bigint;
  /** Bytes that one bitmap may have. */
  readonly maxDirtyBitmapSize: bigint;
}

/** What VFIO_IOMMU_GET_INFO says. What the kernel does not tell is absent. */
export interface IommuInfo {
  /** VFIO_IOMMU_INFO_*. */
  readonly flags: number;
  /** Page sizes for mappings: bit n is 2^n bytes. */
  readonly pageSizes?: bigint;
  /** What may be mapped, ascending. Absent on kernels before 5.4 and while only mediated devices are there. */
  readonly ranges?: readonly IovaRange[];
  /** What the kernel says of dirty page tracking. */
  readonly migration?: MigrationInfo;
  /** How many mappings may still be made. */
  readonly dmaAvail?: number;
  /** All capabilities as they stand there, with the ones this project does not know. */
  readonly capabilities: readonly ParsedCapability[];
  /** The whole answer. */
  readonly raw: Uint8Array;
}

/**
 * Reads the answer to VFIO_IOMMU_GET_INFO. Capabilities count only as far as argsz and the bytes go.
 * @param littleEndian the byte order of the kernel that answered
 * @throws CapabilityChainError, RangeError for an answer that no kernel would give
 */
export function parseIommuInfo(raw: Uint8Array, littleEndian = true): IommuInfo {
  const view = new StructView(raw, littleEndian);
  const { argsz, flags, iova_pgsizes, cap_offset } = VfioIommuType1Info.read(view, 0);
  const told = raw.subarray(0, Math.min(argsz, raw.length));
  const first = (flags & VFIO_IOMMU_INFO_CAPS) === 0 ? 0 : cap_offset;
  const capabilities = parseCapabilityChain(told, first, VfioIommuType1Info.size, littleEndian);
  const find = (id: number) => capabilities.find((capability) => capability.id === id);
  const ranges = find(VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
  const migration = find(VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION);
  const dmaAvail = find(VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
  return {
    flags,
    ...((flags & VFIO_IOMMU_INFO_PGSIZES) !== 0 && { pageSizes: iova_pgsizes }),
    ...(ranges && { ranges: parseRanges(view, raw.length, ranges) }),
    ...(migration && { migration: parseMigration(view, migration) }),
    ...(dmaAvail && { dmaAvail: VfioIommuType1InfoDmaAvail.read(view, dmaAvail.offset).avail }),
    capabilities,
    raw,
  };
}

/** The ranges of capability 1. */
function parseRanges(view: StructView, length: number, { offset }: ParsedCapability): IovaRange[] {
  const { nr_iovas } = VfioIommuType1InfoCapIovaRange.read(view, offset);
  const first = offset + VfioIommuType1InfoCapIovaRange.size;
  const room = Math.floor((length - first) / VfioIovaRange.size);
  if (nr_iovas > room)
    throw new RangeError(`the capability announces ${nr_iovas} IOVA ranges, but there is room for ${room}`);
  return Array.from({ length: nr_iovas }, (_, i) => {
    const { start, end } = VfioIovaRange.read(view, first + i * VfioIovaRange.size);
    return { start, last: end };
  });
}

/** Capability 2. */
function parseMigration(view: StructView, { offset }: ParsedCapability): MigrationInfo {
  const { flags, pgsize_bitmap, max_dirty_bitmap_size } = VfioIommuType1InfoCapMigration.read(view, offset);
  return { flags, pageSizes: pgsize_bitmap, maxDirtyBitmapSize: max_dirty_bitmap_size };
}
