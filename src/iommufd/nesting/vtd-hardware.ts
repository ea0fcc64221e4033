import type { IommuGroup } from "../../iommu/group.ts";
import type { HostPasidTables, Requester } from "../../iommu/vtd/host-tables.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { type IommuDevice, IommuDevices } from "../../vfio/nesting/iommu-device.ts";

/** A device as the IOMMU sees it, with what it can do. */
export interface VtdDevice extends Requester {
  readonly name: string;
  readonly source: number;
}

/** The IOMMU of a host that nests, and the devices behind it. */
export class VtdHardware {
  readonly tables: HostPasidTables;
  readonly #devices: IommuDevices;
  /** Page requests are numbered by the device that makes them, in 9 bits. */
  readonly #lastGroup = new Map<number, number>();

  constructor(host: HostDescription, tables: HostPasidTables) {
    this.tables = tables;
    this.#devices = new IommuDevices(host);
  }

  /** Undefined for a device that it does not see. */
  device(name: string): VtdDevice | undefined {
    const found = this.#devices.find(name);
    return found && this.#withAbilities(found);
  }

  devicesOf(group: IommuGroup): readonly VtdDevice[] {
    return group.deviceNames.map((name) => this.device(name)).filter((device) => device !== undefined);
  }

  /** The number of a device's next page request. */
  nextGroup(source: number): number {
    const group = ((this.#lastGroup.get(source) ?? -1) + 1) % 512;
    this.#lastGroup.set(source, group);
    return group;
  }

  #withAbilities({ name, source }: IommuDevice): VtdDevice {
    const { pasid, ats, pri } = this.tables.abilities(source);
    return { name, source, pasid, ats, pri };
  }
}
