import type { Dependable } from "../../iommu/virtual-iommu.ts";
import type { AccessObject } from "../access-object.ts";
import { IommufdObject } from "../object-table.ts";
import type { Viommu } from "./viommu.ts";

/**
 * A queue in a guest's memory that the hardware reads by itself (struct iommufd_hw_queue). It keeps its memory mapped.
 */
export class HwQueue extends IommufdObject implements Dependable {
  readonly #viommu: Viommu;
  #access: AccessObject | undefined;
  #end: (() => void) | undefined;

  constructor(viommu: Viommu) {
    super();
    this.#viommu = viommu;
    viommu.users++;
  }

  get label(): string {
    return `hardware queue ${this.id}`;
  }

  /** Its memory is held. */
  hold(access: AccessObject): void {
    this.#access = access;
  }

  /** The driver has it. @param end how to end that */
  started(end: () => void): void {
    this.#end = end;
  }

  destroy(): void {
    this.#end?.();
    this.#access?.end();
    this.#viommu.users--;
  }
}
