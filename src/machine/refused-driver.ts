import { Release } from "../kernel/releases.ts";
import { hasVfioDriver } from "./device-nodes.ts";
import { deviceName, withDevices } from "./find-device.ts";
import type { DeviceDescription, GroupDescription, HostDescription, PciDeviceDescription } from "./host-description.ts";
import { isNoIommuModeOn, noGroupReason } from "./without-iommu.ts";

type Kernel = Pick<HostDescription, "kernel" | "modules" | "iommu">;

/**
 * Why a VFIO driver's probe of a device fails with EINVAL, for the person who binds it; undefined when it does not.
 * @param noIommuMode whether no-IOMMU mode is on
 */
export function probeRefusal(
  host: Kernel,
  group: GroupDescription,
  device: DeviceDescription,
  noIommuMode: boolean = isNoIommuModeOn(host),
): string | undefined {
  if (group.noIommu && !noIommuMode) return noGroupReason(host);
  const isCoherent = device.bus !== "pci" || device.cacheCoherent !== false;
  // vfio_main.c:__vfio_register_dev asks only where an IOMMU is
  if (isCoherent || group.noIommu || !new Release(host.kernel).has("coherentDevicesOnly")) return undefined;
  return `its DMA is not coherent with the processor's caches (IOMMU_CAP_CACHE_COHERENCY), and VFIO has no way to make it so`;
}

/** The host with the drivers as they are once the probes that fail have failed: those devices have none. */
export function withoutRefusedDrivers(host: HostDescription): HostDescription {
  const groups = withDevices(host.groups, (device, group) => {
    if (device.bus !== "pci" || !hasVfioDriver(device) || probeRefusal(host, group, device) === undefined)
      return device;
    return { ...device, driver: null, refusedDriver: device.driver! };
  });
  return groups === host.groups ? host : { ...host, groups };
}

/** The driver that a device was to have, bound or not: what driver_override names. */
export function wantedDriver({ driver, refusedDriver }: Pick<PciDeviceDescription, "driver" | "refusedDriver">) {
  return driver ?? refusedDriver ?? null;
}

/** What to say of the devices whose VFIO driver could not be bound: a line for each reason. */
export function refusedDrivers(host: HostDescription): readonly string[] {
  const byReason = new Map<string, string[]>();
  for (const group of host.groups) {
    const refused = group.devices.filter((device) => device.bus === "pci" && device.refusedDriver !== undefined);
    for (const device of refused) {
      const reason = probeRefusal(host, group, device);
      if (reason === undefined) continue;
      byReason.set(reason, [...(byReason.get(reason) ?? []), deviceName(device)]);
    }
  }
  return [...byReason].map(([reason, names]) => {
    const rest = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : "";
    return `vfio-pci cannot be bound to ${names.slice(0, SHOWN).join(", ")}${rest} (EINVAL): ${reason}`;
  });
}

/** Devices that a message names. */
const SHOWN = 3;
