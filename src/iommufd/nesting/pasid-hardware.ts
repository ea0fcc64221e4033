import type { RequesterIdentity } from "../../iommu/requester.ts";
import type { VtdUnits } from "../../iommu/vtd/units.ts";

/** The IOMMUs of a host that nests. */
export class PasidHardware {
  readonly units: VtdUnits;
  /** Page requests are numbered by the device that makes them, in 9 bits. */
  readonly #lastGroup = new Map<RequesterIdentity, number>();

  constructor(units: VtdUnits) {
    this.units = units;
  }

  /** The number of a device's next page request. */
  nextGroup(device: RequesterIdentity): number {
    const group = ((this.#lastGroup.get(device) ?? -1) + 1) % 512;
    this.#lastGroup.set(device, group);
    return group;
  }
}
