import { Device } from "./device.ts";
import { deviceName, devicePath } from "./find-group.ts";
import { O_CLOEXEC, O_RDWR, systemCallError, type Transport } from "./transport.ts";

/**
 * Opens a device by its own node, /dev/vfio/devices/vfioN, for an iommufd: bindIommufd() comes next.
 * @param device PCI address, UUID of a mediated device, or its path in /sys
 * @throws DeviceNameError; SystemCallError, ENOENT when there is no such device or it has no node (no iommufd, or not
 * bound to VFIO)
 */
export function openDevice(transport: Transport, device: string): Device {
  const path = devicePath(device);
  const node = transport.list(`${path}/vfio-dev`).find((name) => /^vfio\d+$/.test(name));
  if (node === undefined) {
    const reason = transport.exists(path)
      ? `${deviceName(device)} has no node of its own: the host has no iommufd, or no VFIO driver has the device`
      : `there is no device ${deviceName(device)}`;
    throw systemCallError(`open the node of ${deviceName(device)}`, "ENOENT", reason);
  }
  const fd = transport.open(`/dev/vfio/devices/${node}`, O_RDWR | O_CLOEXEC);
  return new Device(transport, fd, deviceName(device));
}
