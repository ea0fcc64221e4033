import type { DeviceDescription } from "../machine/host-description.ts";
import type { VfioDevice } from "./device.ts";
import type { VfioGroup } from "./group.ts";
import type { MediatedDevices } from "./mediated/mediated-devices.ts";
import type { PciDevices } from "./pci/pci-devices.ts";

/** Makes the VFIO side of a device that a VFIO driver is bound to. */
export function createDevice(
  description: DeviceDescription,
  group: VfioGroup,
  pci: PciDevices,
  mediated: MediatedDevices,
): VfioDevice {
  if (description.bus === "pci") return pci.bind(description.bdf, group);
  return mediated.bind(description, group);
}
