import { pciDevices } from "./find-device.ts";
import type { DeviceDescription, HostDescription, PciDeviceDescription } from "./host-description.ts";
import { segmentOf } from "./virtual-functions.ts";

/**
 * Intel's Volume Management Device: a RAID controller whose driver (vmd) makes a PCI segment of its own for the NVMe
 * devices behind it, numbered from 0x10000 on (drivers/pci/controller/vmd.c:vmd_find_free_domain). Those devices are
 * there only while that driver has the controller.
 */
const FIRST_DOMAIN = 0x1_0000;
const RAID = 0x0104;
/** drivers/pci/controller/vmd.c: vmd_ids */
const VMD_IDS: ReadonlySet<number> = new Set([
  0x201d, 0x28c0, 0x467f, 0x4c3d, 0xa77f, 0x7d0b, 0xad0b, 0x9a0b, 0xb60b, 0xb06f, 0xb07f,
]);
const INTEL = 0x8086;

const known = new WeakMap<HostDescription, ReadonlyMap<string, PciDeviceDescription>>();

/** The controllers by their segments ("10000"): the first has the first, and so on. */
export function vmdControllers(host: HostDescription): ReadonlyMap<string, PciDeviceDescription> {
  let found = known.get(host);
  if (!found) {
    found = findControllers(host);
    known.set(host, found);
  }
  return found;
}

function findControllers(host: HostDescription): ReadonlyMap<string, PciDeviceDescription> {
  const controllers = pciDevices(host).filter(isVmd);
  if (controllers.length === 0) return new Map();
  const domains = [...new Set(pciDevices(host).map(({ bdf }) => segmentOf(bdf)))].filter(isVmdDomain).sort();
  return new Map(domains.map((domain, index) => [domain, controllers[index % controllers.length]!]));
}

/** The controller that a device is behind; undefined for all others. */
export function vmdControllerOf(host: HostDescription, device: DeviceDescription): PciDeviceDescription | undefined {
  return device.bus === "pci" ? vmdControllers(host).get(segmentOf(device.bdf)) : undefined;
}

/** Whether a device is behind a VMD controller, known or not. */
export function isBehindVmd(name: string): boolean {
  return isVmdDomain(segmentOf(name));
}

function isVmd(device: PciDeviceDescription): boolean {
  if (device.driver === "vmd") return true;
  return device.vendor === INTEL && device.class >>> 8 === RAID && VMD_IDS.has(device.device);
}

function isVmdDomain(domain: string): boolean {
  return /^[0-9a-f]{5,8}$/i.test(domain) && Number.parseInt(domain, 16) >= FIRST_DOMAIN;
}
