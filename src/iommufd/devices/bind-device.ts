import type { DmaGroup } from "../../iommu/dma-group.ts";
import type { IommufdContext } from "../context.ts";
import type { Binding } from "./binding.ts";
import { BoundDevice } from "./bound-device.ts";
import { MediatedUser } from "./mediated-user.ts";

/** Takes a device into an iommufd. Throws EPERM, EINVAL. */
export function bindDevice(context: IommufdContext, name: string, group: DmaGroup): Binding {
  const { unit } = group.iommuGroup;
  // without an IOMMU behind it a mediated device's driver reads memory itself
  return unit ? BoundDevice.create(context, name, group, unit) : new MediatedUser(context, name);
}
