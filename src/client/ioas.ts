import {
  IOMMU_IOAS_ALLOW_IOVAS,
  IOMMU_IOAS_COPY,
  IOMMU_IOAS_IOVA_RANGES,
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_MAP_FILE,
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
  IOMMU_IOAS_UNMAP,
  IommuIoasAllowIovas,
  IommuIoasCopy,
  IommuIoasIovaRanges,
  IommuIoasMap,
  IommuIoasMapFile,
  IommuIoasUnmap,
  IommuIovaRange,
} from "../uapi/iommufd.ts";
import { StructView } from "../uapi/struct-view.ts";
import { callStruct } from "./call-struct.ts";
import type { IovaRange } from "./iommu-info.ts";
import type { Iommufd } from "./iommufd.ts";
import { type Memory, SystemCallError } from "./transport.ts";

/** How devices may use what is mapped, and where they find it. All in bytes. */
export interface IoasPlace {
  /** Where devices find it. Left out, the kernel chooses. */
  readonly iova?: bigint;
  /** Whether devices may read; true when left out. */
  readonly read?: boolean;
  /** Whether devices may write; true when left out. */
  readonly write?: boolean;
}

/** What to map into an address space. */
export interface IoasMapRequest extends IoasPlace {
  /** What allocate() gave. */
  readonly memory?: Memory;
  /** Where the memory is in this process; `memory` instead says both. */
  readonly vaddr?: bigint;
  /** How much; the whole of `memory` when left out. */
  readonly size?: bigint;
}

/** What of a file to map. */
export interface IoasFileRequest extends IoasPlace {
  /** A memfd. */
  readonly file: number;
  /** Bytes into it. */
  readonly offset: bigint;
  /** How much. */
  readonly size: bigint;
}

/** What to map of another address space, or of the same. */
export interface IoasCopyRequest extends IoasPlace {
  /** The address space that has it. */
  readonly from: Ioas;
  /** Where it is there. */
  readonly source: bigint;
  /** How much. */
  readonly size: bigint;
}

/** What may be mapped (IOMMU_IOAS_IOVA_RANGES). */
export interface IoasRanges {
  /** Ascending. */
  readonly ranges: readonly IovaRange[];
  /** Mappings are multiples of so many bytes. */
  readonly alignment: bigint;
}

/** An address space of an iommufd. Every call throws SystemCallError when it fails. */
export class Ioas {
  /** Its object id, above 0. */
  readonly id: number;
  readonly #iommufd: Iommufd;

  /** For Iommufd.allocIoas(). */
  constructor(iommufd: Iommufd, id: number) {
    this.#iommufd = iommufd;
    this.id = id;
  }

  /** What the attached devices leave to be mapped, in as many calls as it takes. */
  ranges(): IoasRanges {
    for (let room = 0; ; ) {
      using memory = this.#iommufd.transport.allocate(Math.max(room, 1) * IommuIovaRange.size);
      let needed = 0;
      const { size } = IommuIoasIovaRanges;
      const request = { size, ioas_id: this.id, num_iovas: room, allowed_iovas: memory.address };
      try {
        const answer = callStruct(
          this.#iommufd,
          IOMMU_IOAS_IOVA_RANGES,
          "IOMMU_IOAS_IOVA_RANGES",
          IommuIoasIovaRanges,
          request,
          (told) => {
            needed = told.num_iovas;
          },
        );
        const ranges = readRanges(new StructView(memory.bytes, this.#iommufd.transport.littleEndian), answer.num_iovas);
        return { ranges, alignment: answer.out_iova_alignment };
      } catch (error) {
        if (!(error instanceof SystemCallError) || error.code !== "EMSGSIZE" || needed <= room) throw error;
        room = needed;
      }
    }
  }

  /** Says where the kernel may choose, and what no device may take away later. */
  allowIovas(ranges: readonly IovaRange[]): void {
    const { transport } = this.#iommufd;
    using memory = transport.allocate(Math.max(ranges.length, 1) * IommuIovaRange.size);
    const view = new StructView(memory.bytes, transport.littleEndian);
    for (const [index, range] of ranges.entries()) IommuIovaRange.write(view, index * IommuIovaRange.size, range);
    const { size } = IommuIoasAllowIovas;
    const request = { size, ioas_id: this.id, num_iovas: ranges.length, allowed_iovas: memory.address };
    callStruct(this.#iommufd, IOMMU_IOAS_ALLOW_IOVAS, "IOMMU_IOAS_ALLOW_IOVAS", IommuIoasAllowIovas, request);
  }

  /** Maps memory of this process. @returns where devices find it */
  map(request: IoasMapRequest): bigint {
    const { memory } = request;
    const user_va = request.vaddr ?? memory?.address;
    const length = request.size ?? (memory === undefined ? undefined : BigInt(memory.bytes.length));
    if (user_va === undefined || length === undefined) throw new TypeError("map() needs memory, or vaddr and size");
    const { flags, iova } = place(request);
    const fields = { size: IommuIoasMap.size, ioas_id: this.id, flags, user_va, length, iova };
    return callStruct(this.#iommufd, IOMMU_IOAS_MAP, "IOMMU_IOAS_MAP", IommuIoasMap, fields).iova;
  }

  /** Maps a part of a memfd. @returns where devices find it */
  mapFile(request: IoasFileRequest): bigint {
    const { file: fd, offset: start, size: length } = request;
    const fields = { size: IommuIoasMapFile.size, ioas_id: this.id, ...place(request), fd, start, length };
    return callStruct(this.#iommufd, IOMMU_IOAS_MAP_FILE, "IOMMU_IOAS_MAP_FILE", IommuIoasMapFile, fields).iova;
  }

  /** Maps here what is mapped in another address space. @returns where devices find it */
  copy(request: IoasCopyRequest): bigint {
    const { flags, iova } = place(request);
    const fields = {
      size: IommuIoasCopy.size,
      flags,
      dst_ioas_id: this.id,
      src_ioas_id: request.from.id,
      length: request.size,
      dst_iova: iova,
      src_iova: request.source,
    };
    return callStruct(this.#iommufd, IOMMU_IOAS_COPY, "IOMMU_IOAS_COPY", IommuIoasCopy, fields).dst_iova;
  }

  /** Takes mappings away; ENOENT when nothing is there or one would be cut. @returns how many bytes they had */
  unmap({ iova, size }: { iova: bigint; size: bigint }): bigint {
    const request = { size: IommuIoasUnmap.size, ioas_id: this.id, iova, length: size };
    return callStruct(this.#iommufd, IOMMU_IOAS_UNMAP, "IOMMU_IOAS_UNMAP", IommuIoasUnmap, request).length;
  }

  /** Takes all mappings away. @returns how many bytes they had */
  unmapAll(): bigint {
    return this.unmap({ iova: 0n, size: EVERYTHING });
  }

  /** Destroys it. EBUSY while a device is attached to it. */
  destroy(): void {
    this.#iommufd.destroy(this.id);
  }
}

const EVERYTHING = 2n ** 64n - 1n;

function place({ iova, read = true, write = true }: IoasPlace): { flags: number; iova: bigint } {
  const flags =
    (iova === undefined ? 0 : IOMMU_IOAS_MAP_FIXED_IOVA) |
    (read ? IOMMU_IOAS_MAP_READABLE : 0) |
    (write ? IOMMU_IOAS_MAP_WRITEABLE : 0);
  return { flags, iova: iova ?? 0n };
}

function readRanges(view: StructView, count: number): IovaRange[] {
  return Array.from({ length: count }, (_, index) => IommuIovaRange.read(view, index * IommuIovaRange.size));
}
