import type { RequesterIdentity } from "../../iommu/requester.ts";
import type { BoundDevice } from "../devices/bound-device.ts";
import { IommufdObject } from "../object-table.ts";
import type { NumberedDevice, Viommu } from "./viommu.ts";

/** The number that a guest's IOMMU has for a device (struct iommufd_vdevice). */
export class Vdevice extends IommufdObject implements NumberedDevice {
  readonly virtId: bigint;
  readonly identity: RequesterIdentity;
  readonly #viommu: Viommu;
  readonly #device: BoundDevice;

  /** The device is its user's until destroy(). */
  constructor(viommu: Viommu, device: BoundDevice, identity: RequesterIdentity, virtId: bigint) {
    super();
    this.#viommu = viommu;
    this.#device = device;
    this.identity = identity;
    this.virtId = virtId;
    viommu.users++;
    device.vdevice = this;
  }

  get label(): string {
    return `vdevice ${this.id}`;
  }

  destroy(): void {
    this.#viommu.unnumber(this);
    this.#viommu.users--;
    this.#device.vdevice = undefined;
  }
}
