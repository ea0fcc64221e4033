import { groupNodeMinors, isVfioDriver, vfioDevices } from "../device-nodes.ts";
import { deviceName } from "../find-device.ts";
import type { GroupDescription, HostDescription } from "../host-description.ts";
import { wantedDriver } from "../refused-driver.ts";

/** What changes while a host runs, as /sys shows it. Devices are named as deviceName() does. */
export interface SysfsState {
  driverOf(device: string): string | undefined;
  /** What driver_override says; undefined for "(null)". */
  overrideOf(device: string): string | undefined;
  /** N in vfio-dev/vfioN; undefined for a device that VFIO has not got. */
  vfioIndexOf(device: string): number | undefined;
  /** Minor number of the group's node; undefined for a group that VFIO has not got. */
  groupMinorOf(group: number): number | undefined;
  /** Whether the device is there: not removed, not switched off. */
  isHere(device: string): boolean;
  /** What writes do. Absent in a tree that only shows what a host looks like. */
  readonly actions?: SysfsActions;
}

/** What the files of /sys that act do. All throw KernelError; `text` is what was written. */
export interface SysfsActions {
  readonly parameters: {
    text(name: string): string;
    write(name: string, text: string): void;
  };
  override(device: string, text: string): void;
  bind(driver: string, text: string): void;
  unbind(driver: string, text: string): void;
  addId(driver: string, text: string): void;
  removeId(driver: string, text: string): void;
  probe(text: string): void;
  /** Whether devices are given to drivers by themselves (drivers_autoprobe). */
  autoprobe: boolean;
  remove(device: string, text: string): void;
  rescan(text: string): void;
  reset(device: string, text: string): void;
  /** sriov_numvfs and sriov_drivers_autoprobe of a physical function. */
  setFunctions(device: string, text: string): void;
  functionsAutoprobe(device: string): boolean;
  setFunctionsAutoprobe(device: string, text: string): void;
  /** A slot of s390, by the function in it: whether it is on, and switching it. */
  slotPower(device: string): string;
  setSlotPower(device: string, text: string): void;
  recover(device: string, text: string): void;
  /** The first bytes of config space as they are now; undefined where only the description is known. */
  config(device: string): Uint8Array | undefined;
}

/** A host as it boots. */
export function bootState(host: HostDescription): SysfsState {
  const devices = new Map(
    host.groups.flatMap((group) => group.devices.map((device) => [deviceName(device), device] as const)),
  );
  const indexes = new Map(vfioDevices(host).map(({ device, index }) => [deviceName(device), index]));
  const minors = groupNodeMinors(host);
  return {
    driverOf: (name) => devices.get(name)?.driver ?? undefined,
    overrideOf: (name) => {
      const device = devices.get(name);
      const wanted = device && (device.bus === "pci" ? wantedDriver(device) : device.driver);
      // A VFIO driver has been given the device on purpose, also where it cannot have it.
      return isVfioDriver(wanted ?? null) ? wanted! : undefined;
    },
    vfioIndexOf: (name) => indexes.get(name),
    groupMinorOf: (group) => minors.get(group),
    isHere: () => true,
  };
}

/** Whether the kernel has a group: without an IOMMU only while a VFIO driver has its device, and not without a device. */
export function isGroupThere(group: GroupDescription, state: SysfsState): boolean {
  const devices = group.devices.map(deviceName).filter((name) => state.isHere(name));
  if (devices.length === 0) return false;
  return !group.noIommu || devices.some((name) => isVfioDriver(state.driverOf(name) ?? null));
}
