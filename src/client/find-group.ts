import { posix } from "node:path";
import { SystemCallError, systemCallError, type Transport } from "./transport.ts";

const FULL_PCI_NAME = /^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;
const SHORT_PCI_NAME = /^[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** What was given names no device, whichever there are. */
export class DeviceNameError extends Error {
  constructor(device: string) {
    super(`"${device}" is no PCI address, no UUID and no path in /sys`);
    this.name = "DeviceNameError";
  }
}

/** The name that VFIO knows a device by: the last component of its path in /sys. */
export function deviceName(device: string): string {
  return posix.basename(devicePath(device));
}

/**
 * Where a device is in /sys. Takes a PCI address (with or without its domain), a mediated device's UUID, or a path in
 * /sys.
 * @throws DeviceNameError for anything else
 */
export function devicePath(device: string): string {
  if (device.startsWith("/sys/")) return posix.normalize(device).replace(/\/$/, "");
  if (FULL_PCI_NAME.test(device)) return `/sys/bus/pci/devices/${device.toLowerCase()}`;
  if (SHORT_PCI_NAME.test(device)) return `/sys/bus/pci/devices/0000:${device.toLowerCase()}`;
  if (UUID.test(device)) return `/sys/bus/mdev/devices/${device.toLowerCase()}`;
  throw new DeviceNameError(device);
}

/**
 * The number of a device's IOMMU group, which /dev/vfio/N is called by.
 * @throws SystemCallError (ENOENT) when there is no such device, or it has no group
 */
export function findGroup(transport: Transport, device: string): number {
  const path = devicePath(device);
  const link = `${path}/iommu_group`;
  try {
    return groupNumber(link, transport.readlink(link));
  } catch (error) {
    if (!(error instanceof SystemCallError) || error.code !== "ENOENT") throw error;
    const reason = transport.exists(path)
      ? `device ${deviceName(device)} is in no IOMMU group: no IOMMU, or it is not switched on`
      : `there is no device ${deviceName(device)}`;
    throw systemCallError(error.call, "ENOENT", reason);
  }
}

function groupNumber(link: string, target: string): number {
  const name = posix.basename(target);
  if (!/^\d+$/.test(name)) throw systemCallError(`readlink ${link}`, "EINVAL", `"${name}" is no group number`);
  return Number(name);
}
