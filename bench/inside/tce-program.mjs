import { VFIO_SPAPR_TCE_v2_IOMMU } from "../../dist/uapi/vfio.js";
import * as spapr from "../../dist/uapi/vfio-spapr.js";
import * as type1 from "../../dist/uapi/vfio-type1.js";
import { Program } from "./model.mjs";

export const TCE_PAGE = 65536;
export const WINDOW = 2 ** 36;

/** A program on POWER with a window of 64 GiB in 64K pages and as much memory registered. */
export class TceProgram {
  #program = new Program("power9");
  #file = this.#program.container(0, VFIO_SPAPR_TCE_v2_IOMMU).file;
  #vaddr = this.#program.map(WINDOW);
  #start;

  constructor() {
    this.#structure(24, this.#vaddr, WINDOW);
    this.#call(spapr.VFIO_IOMMU_SPAPR_REGISTER_MEMORY);
    const { size, offsets } = spapr.VfioIommuSpaprTceCreate;
    const { view, bytes } = this.#program;
    bytes.fill(0, 0, size);
    view.setUint32(0, size, true);
    view.setUint32(offsets.page_shift, Math.log2(TCE_PAGE), true);
    this.#program.set64(offsets.window_size, WINDOW);
    view.setUint32(offsets.levels, 1, true);
    this.#call(spapr.VFIO_IOMMU_SPAPR_TCE_CREATE);
    this.#start = Number(view.getBigUint64(offsets.start_addr, true));
  }

  /** MAP_DMA of `size` bytes, as far into the window as into the memory. */
  map(from, size) {
    this.#structure(32, this.#vaddr + from, this.#start + from, size);
    this.#program.view.setUint32(4, 3, true);
    this.#call(type1.VFIO_IOMMU_MAP_DMA);
  }

  unmap(from, size) {
    this.#structure(24, this.#start + from, size);
    this.#call(type1.VFIO_IOMMU_UNMAP_DMA);
  }

  /** argsz, no flags, and 64-bit fields. */
  #structure(size, a, b, c = 0) {
    const { view } = this.#program;
    view.setUint32(0, size, true);
    view.setUint32(4, 0, true);
    this.#program.set64(8, a);
    this.#program.set64(16, b);
    this.#program.set64(24, c);
  }

  #call(request) {
    if (this.#program.call(this.#file, request) !== 0) throw new Error(`request ${request} did nothing`);
  }
}
