import type { DeviceDescription } from "../machine/host-description.ts";
import type { VfioDevice } from "../vfio/device.ts";
import type { VfioGroup } from "../vfio/group.ts";
import type { MediatedDevices } from "../vfio/mediated/mediated-devices.ts";
import type { PciDevices } from "../vfio/pci/pci-devices.ts";

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
