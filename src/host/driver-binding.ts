import { fail } from "../kernel/errors.ts";
import { isVfioDriver } from "../machine/device-nodes.ts";

/**
 * Drivers beside VFIO's own that leave a device's DMA to whoever owns the group
 * (struct pci_driver.driver_managed_dma; recorded in g_sibling_stub and on smmuv3, where pcieport is fine and shpchp is not).
 */
const DRIVERS_WITHOUT_DMA = new Set(["pci-stub", "pcieport"]);

/** Whether a device with this driver keeps its group from user space. */
export function isHostDriver(driver: string | undefined): driver is string {
  return driver !== undefined && !isVfioDriver(driver) && !DRIVERS_WITHOUT_DMA.has(driver);
}

/** What happens around a change of driver. */
export interface BindingListener {
  /** Before a driver is bound: throws when it must not be (its probe fails). */
  binding(device: string, driver: string): void;
  bound(device: string, driver: string): void;
  /** Before a driver lets go: throws when it has to wait. */
  unbound(device: string, driver: string): void;
}

interface Bound {
  driver: string | undefined;
  override: string | undefined;
}

/** Which driver has which PCI device, changed as scripts change it through sysfs (drivers/base/bus.c, drivers/pci/pci-driver.c). */
export class DriverBinding {
  readonly #devices = new Map<string, Bound>();
  readonly #listener: BindingListener;

  constructor(listener: BindingListener) {
    this.#listener = listener;
  }

  /** A device as the machine boots with it; a driver it has been given on purpose is its override, as driverctl leaves it. */
  add(device: string, driver: string | undefined, override: string | undefined = driver): void {
    this.#devices.set(device, { driver, override: override ?? driver });
  }

  driverOf(device: string): string | undefined {
    return this.#devices.get(device)?.driver;
  }

  overrideOf(device: string): string | undefined {
    return this.#devices.get(device)?.override;
  }

  /** The device went and comes back: without a driver, and with none that it is meant for. */
  renew(device: string): void {
    const bound = this.#find(device);
    if (bound.driver !== undefined) this.unbind(bound.driver, device);
    bound.override = undefined;
  }

  /** /sys/bus/pci/devices/DEVICE/driver_override */
  override(device: string, driver: string): void {
    this.#find(device).override = driver === "" ? undefined : driver;
  }

  /** /sys/bus/pci/drivers/DRIVER/unbind */
  unbind(driver: string, device: string): void {
    const bound = this.#devices.get(device);
    if (bound?.driver !== driver) fail("ENODEV", `${device} is not bound to ${driver}`);
    this.#listener.unbound(device, driver);
    bound.driver = undefined;
  }

  /** /sys/bus/pci/drivers/DRIVER/bind */
  bind(driver: string, device: string): void {
    const bound = this.#devices.get(device);
    if (bound?.override !== driver)
      fail("ENODEV", `${driver} does not match ${device} (driver_override says which does)`);
    if (bound.driver !== undefined) fail("EBUSY", `${device} is bound to ${bound.driver}`);
    this.#attach(device, bound, driver);
  }

  /** /sys/bus/pci/drivers_probe: binds the driver that matches, if there is one and none is bound. */
  probe(device: string): void {
    const bound = this.#devices.get(device);
    if (!bound) fail("EINVAL", `no PCI device ${device}`);
    if (bound.driver === undefined && bound.override !== undefined) this.#attach(device, bound, bound.override);
  }

  #attach(device: string, bound: Bound, driver: string): void {
    this.#listener.binding(device, driver);
    bound.driver = driver;
    this.#listener.bound(device, driver);
  }

  #find(device: string): Bound {
    const bound = this.#devices.get(device);
    if (!bound) fail("ENOENT", `no PCI device ${device}`);
    return bound;
  }
}
