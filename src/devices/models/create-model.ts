import type { PciDeviceDescription } from "../../machine/host-description.ts";
import type { DeviceBus, DeviceModel } from "../device-model.ts";
import { E1000e } from "./e1000e.ts";
import { EduDevice } from "./edu.ts";
import { GenericDevice } from "./generic.ts";
import { IoatDevice } from "./ioat.ts";

/**
 * The model behind a PCI function: the one that its description names; among the generic ones, a few known devices have
 * their recorded reset values. A new model is a file beside this one and a case here.
 * @param hasPasids models that can, get registers to make requests with a PASID (docs/vsva.md)
 */
export function createModel(description: PciDeviceDescription, bus: DeviceBus, hasPasids: boolean): DeviceModel {
  switch (description.model) {
    case "edu":
      return new EduDevice(bus, undefined, hasPasids);
    case "ioat":
      return new IoatDevice(bus);
    default:
      return isE1000e(description) ? new E1000e() : new GenericDevice();
  }
}

function isE1000e({ vendor, device }: PciDeviceDescription): boolean {
  return vendor === 0x8086 && device === 0x10d3;
}
