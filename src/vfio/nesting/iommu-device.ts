import { fail } from "../../kernel/errors.ts";
import { allDevices, deviceName } from "../../machine/find-device.ts";
import type { HostDescription } from "../../machine/host-description.ts";

/** A device as the IOMMU knows it. */
export interface IommuDevice {
  /** As VFIO names it. */
  readonly name: string;
  /** The PCI device whose requests the IOMMU sees: itself, or the parent of a mediated device. */
  readonly requester: string;
  /** Its source-id: bus, device and function. */
  readonly source: number;
  /** A mediated device that the IOMMU tells from its parent by PASID (aux domain). */
  readonly isMediated: boolean;
}

/** The IOMMU side of all devices of a host. */
export class IommuDevices {
  /** Undefined for a device that has none: a mediated device without IOMMU backing. */
  readonly #devices = new Map<string, IommuDevice | undefined>();

  constructor(host: HostDescription) {
    for (const { device } of allDevices(host)) {
      const name = deviceName(device);
      const requester = device.bus === "pci" ? device.bdf : device.parent;
      const isMediated = device.bus === "mdev";
      const hasIommu = device.bus === "pci" || device.iommuBacked;
      this.#devices.set(name, hasIommu ? { name, requester, source: sourceOf(requester), isMediated } : undefined);
    }
  }

  find(name: string): IommuDevice | undefined {
    return this.#devices.get(name);
  }

  /**
   * The device that the IOMMU is to be told about. ENODEV for a mediated device that has none: the proposal's v1 passed a NULL pointer on here
   * (review of "vfio/type1: Add vSVA support for IOMMU-backed mdevs", 2 April 2020).
   */
  need(name: string): IommuDevice {
    return (
      this.#devices.get(name) ??
      fail(
        "ENODEV",
        `${name} is a mediated device without IOMMU backing (no iommu_backed): no IOMMU could translate its PASIDs; take it out of the container first`,
      )
    );
  }
}

/** The source-id of "0000:00:1b.0": 8 bits of bus, 5 of device, 3 of function. */
export function sourceOf(bdf: string): number {
  const match = /^[0-9a-f]+:([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/i.exec(bdf);
  if (!match) throw new RangeError(`not a PCI address: ${bdf}`);
  return (Number.parseInt(match[1]!, 16) << 8) | (Number.parseInt(match[2]!, 16) << 3) | Number(match[3]);
}
