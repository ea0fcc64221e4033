import type { DeviceKinds } from "../../devices/kinds.ts";
import { pciDevice } from "../../machine/describe.ts";
import { allDevices } from "../../machine/find-device.ts";
import type { GroupDescription, HostDescription, PciDeviceDescription } from "../../machine/host-description.ts";
import { type PhysicalFunction, routingId, segmentOf } from "../../machine/virtual-functions.ts";

/**
 * What a virtual function has that neither a description nor its physical function tells: registers and MSI-X, as those
 * of the 82576 are.
 */
const BARS: PciDeviceDescription["bars"] = [
  { index: 0, size: 0x4000, type: "memory64" },
  { index: 3, size: 0x4000, type: "memory64" },
];

/** A virtual function and the group that it is in. */
export interface MadeFunction {
  readonly device: PciDeviceDescription;
  readonly group: GroupDescription;
}

/**
 * The first virtual functions of a physical one: as the host's file describes them, and further ones like its first.
 * Those are in groups of their own, behind all that are known: what a description does not name has the numbers
 * between.
 * @param boot the host as it booted
 * @param now the host as it is
 */
export function makeFunctions(
  boot: HostDescription,
  now: HostDescription,
  physical: PhysicalFunction,
  { count, kinds }: { readonly count: number; readonly kinds: DeviceKinds },
): readonly MadeFunction[] {
  const { device: above, offset, stride } = physical;
  const described = allDevices(boot)
    .filter(({ device }) => device.bus === "pci" && device.physfn === above.bdf)
    .map(({ device, group }) => ({ device: device as PciDeviceDescription, group }));
  const home = allDevices(now).find(({ device }) => device.bus === "pci" && device.bdf === above.bdf)!.group;
  let next = Math.max(...[...boot.groups, ...now.groups].map(({ id }) => id)) + 1;
  return Array.from({ length: count }, (_, index) => {
    const bdf = bdfOf(segmentOf(above.bdf), routingId(above.bdf) + offset + index * stride);
    const known = described.find(({ device }) => device.bdf === bdf);
    if (known) return known;
    const device = likeOf(described[0]?.device, physical, bdf, kinds);
    return { device, group: { id: next++, type: home.type, reservedRegions: home.reservedRegions, devices: [device] } };
  });
}

function likeOf(
  first: PciDeviceDescription | undefined,
  { device: above, vfDevice }: PhysicalFunction,
  bdf: string,
  kinds: DeviceKinds,
): PciDeviceDescription {
  if (first) return { ...first, bdf };
  const { vendor, class: deviceClass, revision, subsystemVendor, subsystemDevice } = above;
  return pciDevice(
    {
      bdf,
      vendor,
      device: vfDevice,
      class: deviceClass,
      revision,
      subsystemVendor,
      subsystemDevice,
      driver: null,
      bars: BARS,
      physfn: above.bdf,
    },
    kinds,
  );
}

function bdfOf(segment: string, id: number): string {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
  return `${segment}:${hex((id >> 8) & 0xff, 2)}:${hex((id >> 3) & 0x1f, 2)}.${id & 7}`;
}

/** A description with further functions, each in its group. */
export function withFunctions(host: HostDescription, made: readonly MadeFunction[]): HostDescription {
  const groups = [...host.groups];
  for (const { device, group } of made) {
    const index = groups.findIndex(({ id }) => id === group.id);
    if (index < 0) groups.push({ ...group, devices: [device] });
    else groups[index] = { ...groups[index]!, devices: [...groups[index]!.devices, device] };
  }
  return { ...host, groups };
}

/** A description without some functions. @param physical what it had, which is still known of it without any */
export function withoutFunctions(
  host: HostDescription,
  { device: above, offset, stride, vfDevice, total }: PhysicalFunction,
  gone: ReadonlySet<string>,
): HostDescription {
  const groups = host.groups.flatMap((group) => {
    const devices = group.devices
      .filter((device) => device.bus !== "pci" || !gone.has(device.bdf))
      .map((device) =>
        device.bus === "pci" && device.bdf === above.bdf
          ? { ...device, sriov: { offset, stride, vfDevice }, sriovTotalVfs: total }
          : device,
      );
    return devices.length === 0 ? [] : [{ ...group, devices }];
  });
  return { ...host, groups };
}
