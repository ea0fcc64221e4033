import type { IovaRangeList } from "../../address/iova-ranges.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { encodeCapabilityChain } from "../../uapi/capability-chain.ts";
import {
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
  VfioIommuType1Info,
  VfioIommuType1InfoCapMigration,
} from "../../uapi/vfio-type1.ts";
import { availableMappings, type CapabilitySource, toldBy, usableRanges } from "../capability-source.ts";
import { UserStruct } from "../user-struct.ts";
import { DIRTY_BITMAP_SIZE_MAX } from "./dirty-pages.ts";
import type { Type1Iommu } from "./iommu.ts";

const AT = VfioIommuType1Info.offsets;
const MINIMUM = VfioIommuType1Info.endOf("iova_pgsizes");
const WITH_CAPS = VfioIommuType1Info.endOf("cap_offset");
const SIZE = VfioIommuType1Info.size;

const user = new UserStruct(SIZE);

/**
 * VFIO_IOMMU_GET_INFO. A caller whose argsz has no room for the capabilities gets the size that it needs in argsz and
 * no chain; that is a success (vfio_iommu_type1.c:vfio_iommu_type1_get_info).
 */
export function getInfo(iommu: Type1Iommu, task: Task, arg: Word): number {
  user.copyInSized(task, arg, MINIMUM, "vfio_iommu_type1_info");
  const argsz = user.u32(AT.argsz);
  user.setU64(AT.iova_pgsizes, iommu.pageSizes);
  user.setU32(AT.cap_offset, 0);
  user.setU32(AT.pad, 0);

  const chain = capabilityChain(iommu, task.memory.littleEndian);
  const written = bytesWritten(iommu, argsz, chain.length > 0);
  const sizesFlag = iommu.flagsPageSizes ? VFIO_IOMMU_INFO_PGSIZES : 0;
  user.setU32(AT.flags, sizesFlag | (chain.length > 0 ? VFIO_IOMMU_INFO_CAPS : 0));
  if (chain.length > 0) {
    if (argsz < SIZE + chain.length) {
      user.setU32(AT.argsz, SIZE + chain.length);
    } else {
      // the chain goes first: when it cannot be written the structure is left as it was
      task.memory.copyOut(wordAdd(arg, SIZE), chain, chain.length);
      user.setU32(AT.cap_offset, SIZE);
    }
  }
  return user.answer(task, arg, written, iommu.context.release);
}

/**
 * How much of the structure goes back: before it had a pad field, the kernel stopped behind the last field the caller
 * had room for. A proposal that has a chain for a release without one brings cap_offset with it.
 */
function bytesWritten(iommu: Type1Iommu, argsz: number, hasChain: boolean): number {
  if (iommu.writesWholeInfo) return Math.min(argsz, SIZE);
  const { release } = iommu.context;
  return (hasChain || release.has("iovaRangeCapability")) && argsz >= WITH_CAPS ? WITH_CAPS : MINIMUM;
}

/** The chain as it was encoded last, and what is in it. */
interface EncodedChain {
  readonly bytes: Uint8Array;
  readonly littleEndian: boolean;
  readonly pageBytes: number;
  readonly available: number;
  readonly validRanges: IovaRangeList;
}

const encodedChains = new WeakMap<Type1Iommu, EncodedChain>();

function capabilityChain(iommu: Type1Iommu, littleEndian: boolean): Uint8Array {
  // what a proposal tells changes with more than the kept chain is compared by: with the container's members, for one
  if (iommu.proposedCapabilities.length > 0) return encodeChain(iommu, littleEndian);
  const { pageBytes, available, validRanges } = iommu;
  const last = encodedChains.get(iommu);
  const isSame =
    last?.littleEndian === littleEndian &&
    last.pageBytes === pageBytes &&
    last.available === available &&
    last.validRanges === validRanges;
  if (isSame) return last.bytes;
  const bytes = encodeChain(iommu, littleEndian);
  encodedChains.set(iommu, { bytes, littleEndian, pageBytes, available, validRanges });
  return bytes;
}

function encodeChain(iommu: Type1Iommu, littleEndian: boolean): Uint8Array {
  const padTo8 = iommu.context.release.has("alignedCapabilities");
  const told = toldBy([...SOURCES, ...iommu.proposedCapabilities], iommu, littleEndian);
  return encodeCapabilityChain(SIZE, told, padTo8, littleEndian);
}

/** In the order in which the kernel adds them. */
const SOURCES: readonly CapabilitySource<Type1Iommu>[] = [
  ({ context, pageBytes }, littleEndian) => {
    if (!context.release.has("migrationCapability")) return undefined;
    const fields = { pgsize_bitmap: BigInt(pageBytes), max_dirty_bitmap_size: BigInt(DIRTY_BITMAP_SIZE_MAX) };
    const structure = VfioIommuType1InfoCapMigration.encode(fields, 0, littleEndian);
    return { id: VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, version: 1, structure };
  },
  ({ context, available }, littleEndian) =>
    context.release.has("dmaAvailCapability") ? availableMappings(available, littleEndian) : undefined,
  ({ context, validRanges }, littleEndian) =>
    context.release.has("iovaRangeCapability") && !validRanges.isEmpty
      ? usableRanges(validRanges.ranges, littleEndian)
      : undefined,
];
