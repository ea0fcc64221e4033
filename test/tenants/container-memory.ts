import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VfioIommuType1DmaMap,
  VfioIommuType1DmaUnmap,
} from "../../src/uapi/vfio-type1.ts";
import { DATA_END, FIRST_DATA, mappedRun, PAGE, PAGES, pageAddress, SCRATCH } from "./area.ts";
import type { ContainerWorld } from "./container-world.ts";
import type { Box } from "./reference.ts";

/** MAP_DMA and UNMAP_DMA: tables and what devices show go where they belong, data pages anywhere. */
export class ContainerMemory {
  readonly #world: ContainerWorld;

  constructor(world: ContainerWorld) {
    this.#world = world;
  }

  /** Whether it was a step of its own. */
  apply(op: string, box: Box, b: number, c: number): boolean {
    switch (op) {
      case "map":
        this.#map(box, b % PAGES, c);
        return true;
      case "unmap":
        this.#unmap(box, b % PAGES);
        return true;
      case "unmapAll":
        this.#unmapAll(box);
        return true;
    }
    return false;
  }

  #map(box: Box, index: number, c: number): void {
    if (box.fd < 0) return;
    const { first, count } = mappedRun(index);
    const isData = first >= FIRST_DATA && first < DATA_END;
    const page = isData ? FIRST_DATA + (c % 8) : first;
    const write = !isData || c < 8;
    const bytes = VfioIommuType1DmaMap.encode({
      argsz: VfioIommuType1DmaMap.size,
      flags: VFIO_DMA_MAP_FLAG_READ | (write ? VFIO_DMA_MAP_FLAG_WRITE : 0),
      vaddr: BigInt(box.area + page * PAGE),
      iova: BigInt(pageAddress(first)),
      size: BigInt(count * PAGE),
    });
    const result = this.#world.machine.process(box.process).exchange(box.fd, VFIO_IOMMU_MAP_DMA, bytes);
    const isRight = box.type !== 0 && !box.maps.has(first);
    if (!this.#world.expect(result, isRight ? "ok" : "fails", "MAP_DMA")) return;
    for (let at = 0; at < count; at++) box.maps.set(first + at, { page: page + at, write });
  }

  #unmap(box: Box, index: number): void {
    // what devices show stays
    if (box.fd < 0 || index === SCRATCH) return;
    const { first, count } = mappedRun(index);
    if (!this.#world.expect(this.#call(box, first, count), box.type === 0 ? "fails" : "ok", "UNMAP_DMA")) return;
    for (let at = first; at < first + count; at++) box.maps.delete(at);
  }

  #unmapAll(box: Box): void {
    if (box.fd < 0) return;
    if (!this.#world.expect(this.#call(box, 0, PAGES), box.type === 0 ? "fails" : "ok", "UNMAP_DMA")) return;
    box.maps.clear();
    this.#map(box, SCRATCH, 0);
  }

  #call(box: Box, first: number, count: number): number {
    const bytes = VfioIommuType1DmaUnmap.encode({
      argsz: VfioIommuType1DmaUnmap.size,
      iova: BigInt(pageAddress(first)),
      size: BigInt(count * PAGE),
    });
    return this.#world.machine.process(box.process).exchange(box.fd, VFIO_IOMMU_UNMAP_DMA, bytes);
  }
}
