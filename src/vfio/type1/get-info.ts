import type { IovaRangeList } from "../../address/iova-ranges.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { type Capability, encodeCapabilityChain } from "../../uapi/capability-chain.ts";
import { StructView } from "../../uapi/struct-view.ts";
import { VfioInfoCapHeader } from "../../uapi/vfio.ts";
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
} from "../../uapi/vfio-type1.ts";
import { UserStruct } from "../user-struct.ts";
import { DIRTY_BITMAP_SIZE_MAX } from "./dirty-pages.ts";
import type { Type1Iommu } from "./iommu.ts";

const AT = VfioIommuType1Info.offsets;
const MINIMUM = VfioIommuType1Info.endOf("iova_pgsizes");
const WITH_CAPS = VfioIommuType1Info.endOf("cap_offset");
const SIZE = VfioIommuType1Info.size;

const user = new UserStruct(SIZE);

/**
 * VFIO_IOMMU_GET_INFO. A caller whose argsz has no room for the capabilities gets the size that it needs in argsz and no
 * chain; that is a success (vfio_iommu_type1.c:vfio_iommu_type1_get_info).
 */
export function getInfo(iommu: Type1Iommu, task: Task, arg: Word): number {
  user.copyInSized(task, arg, MINIMUM, "vfio_iommu_type1_info");
  const argsz = user.u32(AT.argsz);
  user.setU64(AT.iova_pgsizes, iommu.pageSizes);
  user.setU32(AT.cap_offset, 0);
  user.setU32(AT.pad, 0);

  const chain = capabilityChain(iommu, task.memory.littleEndian);
  const written = bytesWritten(iommu, argsz, chain.length > 0);
  const sizesFlag = iommu.context.release.has("pageSizesFlag") ? VFIO_IOMMU_INFO_PGSIZES : 0;
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
 * How much of the structure goes back: before it had a pad field, the kernel stopped behind the last field the caller had room for. A proposal
 * that has a chain for a release without one brings cap_offset with it.
 */
function bytesWritten(iommu: Type1Iommu, argsz: number, hasChain: boolean): number {
  const { release } = iommu.context;
  if (release.has("wholeInfoWritten")) return Math.min(argsz, SIZE);
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
  if (iommu.proposedCapabilities) return encodeChain(iommu, littleEndian);
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
  return encodeCapabilityChain(SIZE, capabilities(iommu, littleEndian), padTo8, littleEndian);
}

/** In the order in which the kernel adds them. */
function capabilities(iommu: Type1Iommu, littleEndian: boolean): Capability[] {
  const { release } = iommu.context;
  const list: Capability[] = [];
  if (release.has("migrationCapability")) {
    list.push(
      capability(
        VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
        VfioIommuType1InfoCapMigration.encode(
          { pgsize_bitmap: BigInt(iommu.pageBytes), max_dirty_bitmap_size: BigInt(DIRTY_BITMAP_SIZE_MAX) },
          0,
          littleEndian,
        ),
      ),
    );
  }
  if (release.has("dmaAvailCapability")) {
    const body = VfioIommuType1InfoDmaAvail.encode({ avail: iommu.available }, 0, littleEndian);
    list.push(capability(VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, body));
  }
  if (release.has("iovaRangeCapability") && !iommu.validRanges.isEmpty) {
    list.push(capability(VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, encodeRanges(iommu, littleEndian)));
  }
  const proposed = iommu.proposedCapabilities?.() ?? [];
  return [...list.filter(({ id }) => !proposed.some((other) => other.id === id)), ...proposed];
}

function encodeRanges(iommu: Type1Iommu, littleEndian: boolean): Uint8Array {
  const { ranges } = iommu.validRanges;
  const layout = VfioIommuType1InfoCapIovaRange;
  const bytes = layout.encode({ nr_iovas: ranges.length }, ranges.length * VfioIovaRange.size, littleEndian);
  const view = new StructView(bytes, littleEndian);
  ranges.forEach(({ start, last }, i) => {
    VfioIovaRange.write(view, layout.size + i * VfioIovaRange.size, { start, end: last });
  });
  return bytes;
}

/** A capability of version 1 from its whole structure, header included. */
function capability(id: number, structure: Uint8Array): Capability {
  return { id, version: 1, body: structure.subarray(VfioInfoCapHeader.size) };
}
