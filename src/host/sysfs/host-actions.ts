import type { FunctionErrors } from "../../devices/pci/function-errors.ts";
import { fail } from "../../kernel/errors.ts";
import type { ModuleParameters } from "../../kernel/module-parameters.ts";
import { writtenFlag, writtenNumber } from "../../kernel/written-number.ts";
import { isVfioDriver } from "../../machine/device-nodes.ts";
import { allDevices, deviceName } from "../../machine/find-device.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { devicePath } from "../../machine/sysfs/device-path.ts";
import type { SysfsActions } from "../../machine/sysfs/sysfs-state.ts";
import { physicalFunctions } from "../../machine/virtual-functions.ts";
import type { PciDevices } from "../../vfio/pci/pci-devices.ts";
import type { DriverBinding } from "../driver-binding.ts";
import type { ZpciSlots } from "../zpci-slots.ts";

const SRIOV_PARAMETER = "vfio_pci/enable_sriov";
/** It has no sriov_configure (drivers/uio/uio_pci_generic.c). */
const NO_SRIOV_DRIVER = "uio_pci_generic";
const MOST_FUNCTIONS = 0xffff;
const UINT_MAX = 0xffff_ffff;

/** What of a host the files of its /sys act on. */
export interface ActedOn {
  /** As it is now. */
  readonly description: HostDescription;
  readonly parameters: ModuleParameters;
  readonly binding: DriverBinding;
  readonly slots: ZpciSlots;
  readonly errors: FunctionErrors;
  readonly pci: PciDevices;
  /** Devices that were removed, and come back with a rescan. */
  readonly removed: Set<string>;
  /** A device of the description is there again, without a driver. */
  arrive(device: string): void;
  /** Something of a device is not what it was. */
  changed(device: string): void;
  /** Virtual functions of a physical one come or go, all of them. */
  enableFunctions(physical: string, count: number): void;
  disableFunctions(physical: string): void;
}

/**
 * What writes to the files of /sys do (drivers/base/bus.c, drivers/pci/pci-sysfs.c, iov.c), with the errno of the
 * kernel.
 */
export class HostActions implements SysfsActions {
  readonly #host: ActedOn;
  readonly #withoutAutoprobe = new Set<string>();

  constructor(host: ActedOn) {
    this.#host = host;
  }

  get parameters(): ModuleParameters {
    return this.#host.parameters;
  }

  get autoprobe(): boolean {
    return this.#host.binding.autoprobe;
  }

  set autoprobe(on: boolean) {
    this.#host.binding.autoprobe = on;
  }

  override(device: string, text: string): void {
    this.#host.binding.override(device, text);
  }

  bind(driver: string, text: string): void {
    this.#host.binding.bind(driver, lineOf(text));
  }

  unbind(driver: string, text: string): void {
    this.#host.binding.unbind(driver, lineOf(text));
  }

  addId(driver: string, text: string): void {
    this.#host.binding.addId(driver, text);
  }

  removeId(driver: string, text: string): void {
    this.#host.binding.removeId(driver, text);
  }

  probe(text: string): void {
    this.#host.binding.probe(lineOf(text));
  }

  /**
   * pci-sysfs.c:remove_store. What is below a bridge goes with it, and virtual functions go before their physical one.
   */
  remove(device: string, text: string): void {
    if (writtenNumber("remove", text, UINT_MAX) === 0) return;
    const { description, binding, removed } = this.#host;
    const all = allDevices(description).filter(({ device: each }) => each.bus === "pci");
    const top = devicePath(description, all.find(({ device: each }) => deviceName(each) === device)!.device);
    const goes = all.filter(({ device: each }) => {
      const isFunction = each.bus === "pci" && each.physfn === device;
      return isFunction || `${devicePath(description, each)}/`.startsWith(`${top}/`);
    });
    for (const { device: each } of goes.reverse()) {
      const name = deviceName(each);
      if (removed.has(name)) continue;
      binding.remove(name);
      removed.add(name);
      this.#host.changed(name);
    }
  }

  /** pci-sysfs.c:rescan_store: whatever was removed is found again. */
  rescan(text: string): void {
    if (writtenNumber("rescan", text, UINT_MAX) === 0) return;
    const { removed } = this.#host;
    for (const { device } of allDevices(this.#host.description)) {
      const name = deviceName(device);
      if (removed.delete(name)) this.#host.arrive(name);
    }
  }

  /** pci-sysfs.c:reset_store; pci_reset_function(), which puts config space back. */
  reset(device: string, text: string): void {
    if (writtenNumber("reset", text, UINT_MAX) !== 1) fail("EINVAL", `reset takes 1, not "${text.trim()}"`);
    this.#host.pci.reset(device);
  }

  /** iov.c:sriov_numvfs_store. */
  setFunctions(device: string, text: string): void {
    const count = writtenNumber("sriov_numvfs", text, MOST_FUNCTIONS);
    const { description, binding, parameters } = this.#host;
    const { total, functions } = physicalFunctions(description).get(device)!;
    if (count > total) fail("ERANGE", `${device} has ${total} virtual functions at most (sriov_totalvfs)`);
    if (count === functions.length) return;
    const driver = binding.driverOf(device);
    if (driver === undefined) fail("ENOENT", `${device} has no driver, which would have to make its virtual functions`);
    if (driver === NO_SRIOV_DRIVER) fail("ENOENT", `${driver} makes no virtual functions`);
    if (isVfioDriver(driver) && parameters.has(SRIOV_PARAMETER) && parameters.get(SRIOV_PARAMETER) === 0)
      fail("ENOENT", `vfio-pci makes virtual functions only with its parameter enable_sriov=1`);
    if (count > 0 && functions.length > 0)
      fail("EBUSY", `${device} has ${functions.length} virtual functions: write 0 before another number`);
    if (count === 0) this.#host.disableFunctions(device);
    else this.#host.enableFunctions(device, count);
  }

  functionsAutoprobe(device: string): boolean {
    return !this.#withoutAutoprobe.has(device);
  }

  setFunctionsAutoprobe(device: string, text: string): void {
    if (writtenFlag("sriov_drivers_autoprobe", text)) this.#withoutAutoprobe.delete(device);
    else this.#withoutAutoprobe.add(device);
  }

  slotPower(device: string): string {
    return this.#host.slots.isOn(device) ? "1" : "0";
  }

  setSlotPower(device: string, text: string): void {
    this.#host.slots.switch(device, lineOf(text));
    this.#host.changed(device);
  }

  recover(device: string, text: string): void {
    if (lineOf(text) !== "1") return;
    this.#host.errors.recover(device);
    this.#host.binding.renew(device);
  }

  config(device: string): Uint8Array | undefined {
    return this.#host.pci.topology.find(device)?.config.bytes;
  }
}

/** A name as it was written: one newline may follow (sysfs_streq). */
function lineOf(text: string): string {
  return text.replace(/\n$/, "");
}
