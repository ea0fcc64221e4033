import {
  VFIO_IOMMU_SPAPR_REGISTER_MEMORY,
  VFIO_IOMMU_SPAPR_TCE_CREATE,
  VFIO_IOMMU_SPAPR_TCE_REMOVE,
  VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY,
  VfioIommuSpaprRegisterMemory,
  VfioIommuSpaprTceCreate,
  VfioIommuSpaprTceRemove,
} from "../../../src/uapi/vfio-spapr.ts";
import { VFIO_IOMMU_UNMAP_DMA, VfioIommuType1DmaUnmap } from "../../../src/uapi/vfio-type1.ts";
import type { Program, Result } from "../program.ts";

/** REGISTER_MEMORY of a program's memory. */
export function register(program: Program, container: Result, vaddr: number, size: number): Result {
  return program.ioctlBytes(container, VFIO_IOMMU_SPAPR_REGISTER_MEMORY, range(vaddr, size));
}

export function unregister(program: Program, container: Result, vaddr: number, size: number): Result {
  return program.ioctlBytes(container, VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, range(vaddr, size));
}

function range(vaddr: number, size: number): Uint8Array {
  return VfioIommuSpaprRegisterMemory.encode({ argsz: 24, vaddr: BigInt(vaddr), size: BigInt(size) });
}

/** TCE_CREATE: where the window starts, or the name of the errno. */
export function create(
  program: Program,
  container: Result,
  pageShift: number,
  size: bigint,
  levels = 1,
): bigint | string {
  const bytes = VfioIommuSpaprTceCreate.encode({ argsz: 40, page_shift: pageShift, window_size: size, levels });
  const result = program.ioctlBytes(container, VFIO_IOMMU_SPAPR_TCE_CREATE, bytes);
  return typeof result === "string" ? result : VfioIommuSpaprTceCreate.decode(bytes).start_addr;
}

export function remove(program: Program, container: Result, address: bigint): Result {
  const bytes = VfioIommuSpaprTceRemove.encode({ argsz: 16, start_addr: address });
  return program.ioctlBytes(container, VFIO_IOMMU_SPAPR_TCE_REMOVE, bytes);
}

/** UNMAP_DMA, whose value means something here. */
export function unmap(program: Program, container: Result, iova: bigint, size: bigint): Result {
  const bytes = VfioIommuType1DmaUnmap.encode({ argsz: 24, iova, size });
  return program.ioctlBytes(container, VFIO_IOMMU_UNMAP_DMA, bytes);
}

/** Locked memory of a program in bytes. */
export function locked(program: Program): number {
  return program.task.memory.lockedPages * program.task.memory.pageSize;
}
