import { VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU } from "../uapi/vfio.ts";
import { Container } from "./container.ts";
import { devicePath, findGroup } from "./find-group.ts";
import { Group } from "./group.ts";
import type { Transport } from "./transport.ts";

/**
 * Adds devices to one type1 container, one after another, and closes everything at the end.
 * @param added is called after each device, with the container; without it when the device's group was in it already
 * @throws DeviceNameError before anything is done, SystemCallError as soon as a call fails; what was opened is closed
 */
export function addDevices(
  transport: Transport,
  devices: readonly string[],
  added: (device: string, container: Container | undefined) => void,
): void {
  for (const device of devices) devicePath(device);
  const container = Container.open(transport);
  const groups = new Map<number, Group>();
  try {
    for (const device of devices) {
      const number = findGroup(transport, device);
      if (groups.has(number)) {
        added(device, undefined);
        continue;
      }
      const group = Group.open(transport, number);
      groups.set(number, group);
      group.setContainer(container);
      if (groups.size === 1) setType1(container);
      added(device, container);
    }
  } finally {
    for (const group of groups.values()) group.close();
    container.close();
  }
}

function setType1(container: Container): void {
  container.setIommu(container.checkExtension(VFIO_TYPE1v2_IOMMU) ? VFIO_TYPE1v2_IOMMU : VFIO_TYPE1_IOMMU);
}
