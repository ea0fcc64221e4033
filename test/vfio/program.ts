import { Host } from "../../src/host/host.ts";
import { KernelError } from "../../src/kernel/errors.ts";
import { PROT_READ, PROT_WRITE } from "../../src/kernel/model-areas.ts";
import { ModelTask, type ModelTaskOptions } from "../../src/kernel/model-task.ts";
import type { Word } from "../../src/kernel/word.ts";
import type { HostDescription } from "../../src/machine/host-description.ts";
import {
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_SET_IOMMU,
} from "../../src/uapi/vfio.ts";
import {
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VfioIommuType1DirtyBitmap,
  VfioIommuType1DirtyBitmapGet,
  VfioIommuType1DmaMap,
  VfioIommuType1DmaUnmap,
} from "../../src/uapi/vfio-type1.ts";

/** The errno of a call as a name, or its value. */
export type Result = number | string;

/** A program in the model that speaks VFIO in raw bytes, for tests: every call returns its value or the name of its errno. */
export class Program {
  readonly task: ModelTask;
  readonly host: Host;
  readonly #scratch: number;
  /** The reason of the last call that failed. */
  reason = "";

  constructor(host: Host | HostDescription, options: ModelTaskOptions = {}) {
    this.host = host instanceof Host ? host : new Host(host);
    this.task = new ModelTask({ pageSize: this.host.description.pageSize, ...options });
    this.#scratch = this.task.memory.mmap({ length: 65536, protection: PROT_READ | PROT_WRITE });
  }

  attempt(call: () => number): Result {
    try {
      return call();
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.reason = error.reason;
      return error.code;
    }
  }

  open(path: string): Result {
    return this.attempt(() => this.task.files.install(this.host.open(this.task, path, 2), false));
  }

  close(fd: Result): Result {
    return this.attempt(() => {
      this.task.files.close(Number(fd));
      return 0;
    });
  }

  ioctl(fd: Result, request: number, arg: Word = 0): Result {
    return this.attempt(() => this.task.files.get(Number(fd))!.ioctl(this.task, request, arg));
  }

  /** A request with a structure; the bytes are updated in place. */
  ioctlBytes(fd: Result, request: number, bytes: Uint8Array): Result {
    this.task.memory.copyOut(this.#scratch, bytes, bytes.length);
    const result = this.ioctl(fd, request, this.#scratch);
    this.task.memory.copyIn(this.#scratch, bytes, bytes.length);
    return result;
  }

  memory(length: number): number {
    return this.task.memory.mmap({ length, protection: PROT_READ | PROT_WRITE });
  }

  setContainer(group: Result, container: Result): Result {
    const bytes = new Uint8Array(new Int32Array([Number(container)]).buffer);
    return this.ioctlBytes(group, VFIO_GROUP_SET_CONTAINER, bytes);
  }

  unsetContainer(group: Result): Result {
    return this.ioctl(group, VFIO_GROUP_UNSET_CONTAINER);
  }

  /** A container with one group and its IOMMU set. */
  container(group: number, type = 3): { container: Result; group: Result } {
    const container = this.open("/dev/vfio/vfio");
    const groupFd = this.open(`/dev/vfio/${group}`);
    const steps = [this.setContainer(groupFd, container), this.ioctl(container, VFIO_SET_IOMMU, type)];
    if (steps.some((step) => step !== 0)) throw new Error(`no container: ${steps} ${this.reason}`);
    return { container, group: groupFd };
  }

  deviceFd(group: Result, name: string): Result {
    return this.ioctlBytes(group, VFIO_GROUP_GET_DEVICE_FD, new TextEncoder().encode(`${name}\0`));
  }

  map(container: Result, iova: bigint, vaddr: number | bigint, size: bigint, flags = 3): Result {
    const bytes = VfioIommuType1DmaMap.encode({
      argsz: VfioIommuType1DmaMap.size,
      flags,
      vaddr: BigInt(vaddr),
      iova,
      size,
    });
    return this.ioctlBytes(container, VFIO_IOMMU_MAP_DMA, bytes);
  }

  /** The bytes unmapped, or the errno. */
  unmap(container: Result, iova: bigint, size: bigint, flags = 0): bigint | string {
    const bytes = VfioIommuType1DmaUnmap.encode({ argsz: VfioIommuType1DmaUnmap.size, flags, iova, size });
    const result = this.ioctlBytes(container, VFIO_IOMMU_UNMAP_DMA, bytes);
    return typeof result === "string" ? result : VfioIommuType1DmaUnmap.decode(bytes).size;
  }

  /** GET_INFO with room for everything: the raw bytes. */
  info(container: Result): Uint8Array {
    const bytes = new Uint8Array(512);
    new DataView(bytes.buffer).setUint32(0, 512, true);
    const result = this.ioctlBytes(container, VFIO_IOMMU_GET_INFO, bytes);
    if (result !== 0) throw new Error(`GET_INFO: ${result} ${this.reason}`);
    return bytes;
  }

  /** VFIO_IOMMU_DIRTY_PAGES start or stop. */
  dirty(container: Result, what: "start" | "stop"): Result {
    const flags = what === "start" ? 1 : 2;
    return this.ioctlBytes(container, VFIO_IOMMU_DIRTY_PAGES, VfioIommuType1DirtyBitmap.encode({ argsz: 8, flags }));
  }

  /** The pages of a range that are dirty, by number from its start. */
  dirtyBits(container: Result, iova: bigint, pages: number): number[] {
    const words = Math.ceil(pages / 64);
    const data = this.memory(words * 8);
    const head = VfioIommuType1DirtyBitmap.encode({ argsz: 48, flags: 4 });
    const bitmap = { pgsize: 4096n, size: BigInt(words * 8), data: BigInt(data) };
    const range = VfioIommuType1DirtyBitmapGet.encode({ iova, size: BigInt(pages) * 4096n, bitmap });
    const result = this.ioctlBytes(container, VFIO_IOMMU_DIRTY_PAGES, new Uint8Array([...head, ...range]));
    if (result !== 0) throw new Error(`GET_BITMAP: ${result} ${this.reason}`);
    const bits = new Uint8Array(words * 8);
    this.task.memory.copyIn(data, bits, bits.length);
    return Array.from({ length: pages }, (_, page) => page).filter((page) => (bits[page >> 3]! >> (page & 7)) & 1);
  }
}
