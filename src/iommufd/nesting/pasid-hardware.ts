import type { NestingIommus } from "../../iommu/nesting-iommus.ts";
import type { RequesterIdentity } from "../../iommu/requester.ts";

/** The IOMMUs of a host that nests. */
export class PasidHardware {
  readonly iommus: NestingIommus;
  /** Page requests are numbered by the device that makes them, in 9 bits. */
  readonly #lastGroup = new Map<RequesterIdentity, number>();

  constructor(iommus: NestingIommus) {
    this.iommus = iommus;
  }

  /** The number of a device's next page request. */
  nextGroup(device: RequesterIdentity): number {
    const group = ((this.#lastGroup.get(device) ?? -1) + 1) % 512;
    this.#lastGroup.set(device, group);
    return group;
  }
}
