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
  readonly #host: HostDescription;
  /** Those that were asked for, and those that have come. */
  readonly #identities = new Map<string, RequesterIdentity>();
  /** As the host booted. */
  #described: ReadonlyMap<string, DeviceDescription> | undefined;

  constructor(host: HostDescription) {
    this.#host = host;
  }

  /** A PCI function has come. */
  add(host: HostDescription, device: PciDeviceDescription): void {
    this.#identities.set(device.bdf, identityOf(host, device, device));
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
    return this.#identities.get(name) ?? this.#describe(name);
  }

  #describe(name: string): RequesterIdentity | undefined {
    this.#described ??= new Map(allDevices(this.#host).map(({ device }) => [deviceName(device), device]));
    const device = this.#described.get(name);
    if (device === undefined || (device.bus === "mdev" && !device.iommuBacked)) return undefined;
    const identity = identityOf(this.#host, device, this.#described.get(functionOf(device)));
    this.#identities.set(name, identity);
    return identity;
  }
}

/** @param described the function that makes the device's requests */
function identityOf(
  host: HostDescription,
  device: DeviceDescription,
  described: DeviceDescription | undefined,
): RequesterIdentity {
  const functionName = functionOf(device);
  const abilities = described?.bus === "pci" ? translationOf(host, described) : undefined;
  const { pasid, ats, pri } = abilities ?? NO_ABILITIES;
  return {
    name: deviceName(device),
    functionName,
    isMediated: device.bus === "mdev",
    pasid,
    pasidPrivileged: pasid,
    ats,
    pri,
    ...aliasOf(host, functionName),
    ...addressOf(functionName),
  };
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

function functionOf(device: DeviceDescription): string {
  return device.bus === "pci" ? device.bdf : device.parent;
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
