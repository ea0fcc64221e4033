import type { ApiProfile, PciDeviceDescription, TranslationAbilities } from "../../machine/host-description.ts";
import type { DeviceBus, DeviceModel } from "../device-model.ts";
import { E1000e } from "./e1000e.ts";
import { EduDevice } from "./edu.ts";
import { GenericDevice } from "./generic.ts";
import { IoatDevice } from "./ioat.ts";
import { PciTestDevice } from "./pci-testdev.ts";

/**
 * The model behind a PCI function: the one that its description names; among the generic ones, a few known devices have
 * their recorded reset values. A new model is a file beside this one and a case here.
 * @param api on a host that speaks a proposal, models that can make requests with PASIDs do (docs/vsva.md)
 */
export function createModel(description: PciDeviceDescription, bus: DeviceBus, api: ApiProfile): DeviceModel {
  switch (description.model) {
    case "edu":
      return new EduDevice(bus, undefined, description.translation ?? (api === "mainline" ? undefined : PROPOSED));
    case "ioat":
      return new IoatDevice(bus);
    case "pci-testdev":
      return new PciTestDevice();
    default:
      return isE1000e(description) ? new E1000e() : new GenericDevice();
  }
}

/** On hosts that speak a proposal every device has PASIDs and a TLB of its own; nobody there answers page requests. */
const PROPOSED: TranslationAbilities = { pasid: true, ats: true, pri: false };

function isE1000e({ vendor, device }: PciDeviceDescription): boolean {
  return vendor === 0x8086 && device === 0x10d3;
}
