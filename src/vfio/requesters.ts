import type { TranslationAbilities } from "../devices/description.ts";
import type { RequesterIdentity } from "../iommu/requester.ts";
import { fail } from "../kernel/errors.ts";
import { isBelowConventionalBridge } from "../machine/bridges.ts";
import { translationOf } from "../machine/device-instance.ts";
import { allDevices, deviceName } from "../machine/find-device.ts";
import type { DeviceDescription, HostDescription, PciDeviceDescription } from "../machine/host-description.ts";

const NO_ABILITIES: TranslationAbilities = { pasid: false, ats: false, pri: false };

/**
 * The devices of a host as its IOMMU tells them apart. On hosts that speak a proposal every device has PASIDs and a TLB
 * of its own (docs/vsva.md); on others it is as described.
 */
export class Requesters {
  readonly #identities = new Map<string, RequesterIdentity>();

  constructor(host: HostDescription) {
    const all = allDevices(host).map(({ device }) => device);
    const described = new Map<string, TranslationAbilities>();
    for (const device of all) {
      const abilities = device.bus === "pci" && translationOf(host, device);
      if (abilities) described.set(device.bdf, abilities);
    }
    for (const device of all) {
      const functionName = functionOf(device);
      if (functionName === undefined) continue;
      const name = deviceName(device);
      const isMediated = device.bus === "mdev";
      const { pasid, ats, pri } = described.get(functionName) ?? NO_ABILITIES;
      this.#identities.set(name, {
        name,
        functionName,
        isMediated,
        pasid,
        pasidPrivileged: pasid,
        ats,
        pri,
        ...aliasOf(host, functionName),
        ...addressOf(functionName),
      });
    }
  }

  /** A PCI function has come. */
  add(host: HostDescription, device: PciDeviceDescription): void {
    const { pasid, ats, pri } = translationOf(host, device) ?? NO_ABILITIES;
    const { bdf: name } = device;
    this.#identities.set(name, {
      name,
      functionName: name,
      isMediated: false,
      pasid,
      pasidPrivileged: pasid,
      ats,
      pri,
      ...aliasOf(host, name),
      ...addressOf(name),
    });
  }

  /** A device that no description has, as one of the kernel's own tests. */
  register(identity: RequesterIdentity): void {
    this.#identities.set(identity.name, identity);
  }

  /** It is no more. */
  unregister({ name }: RequesterIdentity): void {
    this.#identities.delete(name);
  }

  /** Undefined for a device that no IOMMU sees: a mediated device without IOMMU backing. */
  find(name: string): RequesterIdentity | undefined {
    return this.#identities.get(name);
  }
}

/**
 * ENODEV for a device that no IOMMU could be told about: the proposal's v1 passed a NULL pointer on here (review of
 * "vfio/type1: Add vSVA support for IOMMU-backed mdevs", 2 April 2020).
 */
export function refuseUnseen(name: string): never {
  fail(
    "ENODEV",
    `${name} is a mediated device without IOMMU backing (no iommu_backed): no IOMMU could translate its PASIDs; take it out of the container first`,
  );
}

function aliasOf(host: HostDescription, bdf: string): Pick<RequesterIdentity, "hasAlias"> {
  return isBelowConventionalBridge(host, bdf) ? { hasAlias: true } : {};
}

function functionOf(device: DeviceDescription): string | undefined {
  if (device.bus === "pci") return device.bdf;
  return device.iommuBacked ? device.parent : undefined;
}

/** Segment and source-id of "0000:00:1b.0": 8 bits of bus, 5 of device, 3 of function. */
function addressOf(bdf: string): { readonly segment: number; readonly source: number } {
  const match = /^([0-9a-f]+):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/i.exec(bdf);
  if (!match) throw new RangeError(`not a PCI address: ${bdf}`);
  const [segment, bus, device] = match.slice(1, 4).map((digits) => Number.parseInt(digits, 16)) as [
    number,
    number,
    number,
  ];
  return { segment, source: (bus << 8) | (device << 3) | Number(match[4]) };
}
