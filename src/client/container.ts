import { VFIO_CHECK_EXTENSION, VFIO_GET_API_VERSION, VFIO_SET_IOMMU } from "../uapi/vfio.ts";
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VfioIommuType1DirtyBitmap,
  VfioIommuType1DirtyBitmapGet,
  VfioIommuType1DmaMap,
  VfioIommuType1DmaUnmap,
  VfioIommuType1Info,
} from "../uapi/vfio-type1.ts";
import { DirtyBitmap } from "./dirty-bitmap.ts";
import { type IommuInfo, parseIommuInfo } from "./iommu-info.ts";
import { OpenFile } from "./open-file.ts";
import { readInfo } from "./read-info.ts";
import { type Memory, O_CLOEXEC, O_RDWR, type Transport } from "./transport.ts";

const CONTAINER_PATH = "/dev/vfio/vfio";

/** What to map. All in bytes. */
export interface MapRequest {
  /** Where devices find it; a multiple of the page. */
  readonly iova: bigint;
  /** Where the memory is in this process; `memory` instead says both. */
  readonly vaddr?: bigint;
  /** What allocate() gave. */
  readonly memory?: Memory;
  /** How much; the whole of `memory` when left out. */
  readonly size?: bigint;
  /** Whether the device may read; true when left out. */
  readonly read?: boolean;
  /** Whether the device may write; true when left out. */
  readonly write?: boolean;
}

/**
 * A set of groups that share one IOMMU address space (/dev/vfio/vfio). Every call throws SystemCallError when it fails.
 */
export class Container extends OpenFile {
  private constructor(transport: Transport, fd: number) {
    super(transport, fd);
  }

  /** Opens an empty container. */
  static open(transport: Transport): Container {
    return new Container(transport, transport.open(CONTAINER_PATH, O_RDWR | O_CLOEXEC));
  }

  /** VFIO_API_VERSION, 0. */
  apiVersion(): number {
    return this.transport.ioctl(this.fd, VFIO_GET_API_VERSION, 0, "VFIO_GET_API_VERSION");
  }

  /** Whether an IOMMU type or extension is there: before setIommu() at all, after it for the type that was set. */
  checkExtension(extension: number): boolean {
    return this.transport.ioctl(this.fd, VFIO_CHECK_EXTENSION, extension, "VFIO_CHECK_EXTENSION") > 0;
  }

  /** Chooses the IOMMU type (VFIO_TYPE1v2_IOMMU ...). Needs a group in the container. */
  setIommu(type: number): void {
    this.transport.ioctl(this.fd, VFIO_SET_IOMMU, type, "VFIO_SET_IOMMU");
  }

  /** Page sizes, valid IOVA ranges and what else the kernel tells, in as many calls as it takes. */
  getInfo(): IommuInfo {
    return parseIommuInfo(
      readInfo((argsz) => this.rawInfo(argsz), VfioIommuType1Info.size, this.transport.littleEndian),
      this.transport.littleEndian,
    );
  }

  /** One VFIO_IOMMU_GET_INFO with room for `argsz` bytes: the bytes that came back. */
  rawInfo(argsz: number): Uint8Array {
    const { size } = VfioIommuType1Info;
    const info = VfioIommuType1Info.encode({ argsz }, argsz - size, this.transport.littleEndian);
    this.transport.ioctl(this.fd, VFIO_IOMMU_GET_INFO, info, "VFIO_IOMMU_GET_INFO");
    return info;
  }

  /** Makes memory visible to the devices at an IOVA. */
  map(request: MapRequest): void {
    const { iova, memory, read = true, write = true } = request;
    const vaddr = request.vaddr ?? memory?.address;
    const size = request.size ?? (memory === undefined ? undefined : BigInt(memory.bytes.length));
    if (vaddr === undefined || size === undefined) throw new TypeError("map() needs memory, or vaddr and size");
    const flags = (read ? VFIO_DMA_MAP_FLAG_READ : 0) | (write ? VFIO_DMA_MAP_FLAG_WRITE : 0);
    const argument = VfioIommuType1DmaMap.encode(
      { argsz: VfioIommuType1DmaMap.size, flags, vaddr, iova, size },
      0,
      this.transport.littleEndian,
    );
    this.transport.ioctl(this.fd, VFIO_IOMMU_MAP_DMA, argument, "VFIO_IOMMU_MAP_DMA");
  }

  /** Takes mappings away; returns how many bytes they had, which need not be `size`. */
  unmap(range: { iova: bigint; size: bigint }): bigint {
    return this.unmapWith({ ...range, flags: 0 });
  }

  /** Takes all mappings away (VFIO_UNMAP_ALL, 5.12); returns how many bytes they had. */
  unmapAll(): bigint {
    return this.unmapWith({ iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL });
  }

  /** Starts to log what devices write. Everything that is mapped counts as dirty at first. */
  startDirtyTracking(): void {
    this.dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_START);
  }

  /** Ends that; what was logged is forgotten. */
  stopDirtyTracking(): void {
    this.dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP);
  }

  /**
   * Which pages of a range were written since it was last asked for.
   * @param range in bytes; the page size is the smallest that there is when left out
   */
  dirtyBitmap(range: { iova: bigint; size: bigint; pageSize?: bigint }): DirtyBitmap {
    const { iova, size, pageSize = this.smallestPage() } = range;
    const { littleEndian } = this.transport;
    const length = DirtyBitmap.bytesFor(size, pageSize);
    const memory = this.transport.allocate(length);
    try {
      const data = memory.address;
      const get = VfioIommuType1DirtyBitmapGet.encode(
        { iova, size, bitmap: { pgsize: pageSize, size: BigInt(length), data } },
        0,
        littleEndian,
      );
      this.dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, get);
      return new DirtyBitmap(iova, size, pageSize, memory.bytes.slice(0, length), littleEndian);
    } finally {
      memory.free();
    }
  }

  private smallestPage(): bigint {
    const { pageSizes = 0n } = this.getInfo();
    if (pageSizes === 0n) throw new TypeError("the kernel names no page size: give one");
    return pageSizes & -pageSizes;
  }

  private unmapWith(range: { iova: bigint; size: bigint; flags: number }): bigint {
    const { littleEndian } = this.transport;
    const argument = VfioIommuType1DmaUnmap.encode({ argsz: VfioIommuType1DmaUnmap.size, ...range }, 0, littleEndian);
    this.transport.ioctl(this.fd, VFIO_IOMMU_UNMAP_DMA, argument, "VFIO_IOMMU_UNMAP_DMA");
    return VfioIommuType1DmaUnmap.decode(argument, littleEndian).size;
  }

  private dirtyPages(flags: number, data: Uint8Array = new Uint8Array(0)): void {
    const { size } = VfioIommuType1DirtyBitmap;
    const argument = VfioIommuType1DirtyBitmap.encode(
      { argsz: size + data.length, flags },
      data.length,
      this.transport.littleEndian,
    );
    argument.set(data, size);
    this.transport.ioctl(this.fd, VFIO_IOMMU_DIRTY_PAGES, argument, "VFIO_IOMMU_DIRTY_PAGES");
  }
}
