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
    has(name: string): boolean;
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
