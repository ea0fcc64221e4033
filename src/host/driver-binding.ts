import { fail, KernelError } from "../kernel/errors.ts";
import { isVfioDriver } from "../machine/device-nodes.ts";

/**
 * Drivers beside VFIO's own that leave a device's DMA to whoever owns the group (struct pci_driver.driver_managed_dma;
 * recorded in g_sibling_stub and on smmuv3, where pcieport is fine and shpchp is not).
 */
const DRIVERS_WITHOUT_DMA = new Set(["pci-stub", "pcieport"]);

/** Whether a device with this driver keeps its group from user space. */
export function isHostDriver(driver: string | undefined): driver is string {
  return driver !== undefined && !isVfioDriver(driver) && !DRIVERS_WITHOUT_DMA.has(driver);
}

/** What happens around a change of driver. */
export interface BindingListener {
  /** Before a driver's probe: throws when the driver must not have the device's DMA (dma_configure of its bus). */
  claiming(device: string, driver: string): void;
  /** The driver's probe: throws when it fails. */
  probing(device: string, driver: string): void;
  bound(device: string, driver: string): void;
  /** Before a driver lets go: throws when it has to wait. */
  unbound(device: string, driver: string): void;
  /** Something about a device has changed that /sys shows. */
  changed(device: string): void;
  /** A driver did not take a device, and nobody is told otherwise. */
  refused(device: string, driver: string, why: string): void;
}

/** Ids of a PCI device as drivers know it by. */
export interface DeviceIds {
  readonly vendor: number;
  readonly device: number;
  readonly subsystemVendor: number;
  readonly subsystemDevice: number;
  readonly class: number;
}

/** A device as the machine boots with it. */
export interface BootDevice {
  readonly driver: string | undefined;
  /** The driver that was to have it on purpose, as driverctl leaves it. */
  readonly override: string | undefined;
  /** The driver that takes devices like it by itself, where that is known. */
  readonly native: string | undefined;
  /** Undefined for what is no PCI device. */
  readonly ids: DeviceIds | undefined;
}

interface Bound extends BootDevice {
  driver: string | undefined;
  override: string | undefined;
}

/** An id that a driver was given while it ran; all ones in a subsystem id mean any. */
interface DynamicId extends DeviceIds {
  readonly classMask: number;
}

const ANY_ID = 0xffff_ffff;
/** As much as driver_override takes (drivers/base/driver.c:driver_set_override), a newline and a NUL included. */
const PAGE_SIZE = 4096;

/**
 * Which driver has which device, changed as scripts change it through sysfs (drivers/base/bus.c, dd.c,
 * drivers/pci/pci-driver.c).
 */
export class DriverBinding {
  /** Whether devices are given to drivers by themselves (bus.c:drivers_autoprobe). */
  autoprobe = true;
  readonly #devices = new Map<string, Bound>();
  readonly #ids = new Map<string, DynamicId[]>();
  readonly #listener: BindingListener;

  constructor(listener: BindingListener) {
    this.#listener = listener;
  }

  add(device: string, boot: BootDevice): void {
    this.#devices.set(device, { ...boot });
  }

  driverOf(device: string): string | undefined {
    return this.#devices.get(device)?.driver;
  }

  overrideOf(device: string): string | undefined {
    return this.#devices.get(device)?.override;
  }

  has(device: string): boolean {
    return this.#devices.has(device);
  }

  /** The device goes: its driver lets go of it first. Throws what unbind() throws. */
  remove(device: string): void {
    const { driver } = this.#find(device);
    if (driver !== undefined) this.unbind(driver, device);
    this.#devices.delete(device);
  }

  /** The device went and comes back: without a driver, and with none that it is meant for. */
  renew(device: string): void {
    const bound = this.#find(device);
    if (bound.driver !== undefined) this.unbind(bound.driver, device);
    bound.override = undefined;
    this.#listener.changed(device);
  }

  /** /sys/bus/pci/devices/DEVICE/driver_override. EINVAL for a name that is too long. */
  override(device: string, text: string): void {
    const bound = this.#find(device);
    if (text.length >= PAGE_SIZE - 1) fail("EINVAL", `a driver's name has less than ${PAGE_SIZE - 1} characters`);
    const driver = text.split("\n", 1)[0]!;
    bound.override = driver === "" ? undefined : driver;
    this.#listener.changed(device);
  }

  /** /sys/bus/pci/drivers/DRIVER/unbind. ENODEV, EBUSY. */
  unbind(driver: string, device: string): void {
    const bound = this.#devices.get(device);
    if (bound?.driver !== driver) {
      const now = bound === undefined ? "there is no such device" : `its driver is ${bound.driver ?? "none"}`;
      fail("ENODEV", `${device} is not bound to ${driver}: ${now}`);
    }
    this.#listener.unbound(device, driver);
    bound.driver = undefined;
    this.#listener.changed(device);
  }

  /** /sys/bus/pci/drivers/DRIVER/bind. ENODEV, EBUSY, and what the driver's probe throws. */
  bind(driver: string, device: string): void {
    const bound = this.#devices.get(device);
    if (bound === undefined) fail("ENODEV", `there is no PCI device ${device}`);
    if (!this.#matches(driver, bound)) {
      const cure =
        bound.override === undefined
          ? `write ${driver} to its driver_override first`
          : `its driver_override is ${bound.override}`;
      fail("ENODEV", `${driver} does not match ${device}: ${cure}`);
    }
    if (bound.driver !== undefined) fail("EBUSY", `${device} is bound to ${bound.driver}: unbind it first`);
    this.#listener.claiming(device, driver);
    this.#attach(device, bound, driver);
  }

  /**
   * /sys/bus/pci/drivers_probe: binds the driver that matches, if there is one and none is bound. A driver whose probe
   * fails leaves the device alone, and the writer hears nothing of it (dd.c:really_probe). ENODEV, EINVAL.
   */
  probe(device: string): void {
    const bound = this.#devices.get(device);
    if (!bound) fail("ENODEV", `there is no PCI device ${device}`);
    this.#offer(device, bound);
  }

  /** A device has come: it is offered to the drivers, unless they are not to take it by themselves. */
  arrive(device: string): void {
    if (this.autoprobe) this.#offerQuietly(device, this.#find(device));
  }

  /**
   * /sys/bus/pci/drivers/DRIVER/new_id: "vendor device [subvendor subdevice class class_mask [data]]", all hexadecimal.
   * EINVAL, EEXIST.
   */
  addId(driver: string, text: string): void {
    const id = readId(text);
    const ids = this.#ids.get(driver) ?? [];
    if (ids.some((other) => isSameId(other, id))) fail("EEXIST", `${driver} has the id ${text.trim()} already`);
    this.#ids.set(driver, [...ids, id]);
    if (!this.autoprobe) return;
    for (const [name, bound] of this.#devices)
      if (bound.driver === undefined && this.#matches(driver, bound)) this.#offerQuietly(name, bound);
  }

  /** /sys/bus/pci/drivers/DRIVER/remove_id. What is bound stays so. EINVAL, ENODEV. */
  removeId(driver: string, text: string): void {
    const id = readId(text);
    const ids = this.#ids.get(driver) ?? [];
    const index = ids.findIndex((other) => isSameId(other, id));
    if (index < 0) fail("ENODEV", `${driver} was not given the id ${text.trim()} by new_id`);
    this.#ids.set(driver, ids.toSpliced(index, 1));
  }

  /** pci-driver.c:pci_match_device. */
  #matches(driver: string, { override, native, ids }: Bound): boolean {
    if (override !== undefined) return override === driver;
    return driver === native || (ids !== undefined && this.#dynamic(driver, ids));
  }

  #dynamic(driver: string, ids: DeviceIds): boolean {
    const isAny = (wanted: number, has: number) => wanted === ANY_ID || wanted === has;
    return (this.#ids.get(driver) ?? []).some(
      (id) =>
        isAny(id.vendor, ids.vendor) &&
        isAny(id.device, ids.device) &&
        isAny(id.subsystemVendor, ids.subsystemVendor) &&
        isAny(id.subsystemDevice, ids.subsystemDevice) &&
        ((id.class ^ ids.class) & id.classMask) === 0,
    );
  }

  /** The drivers that match get the device one after the other until one takes it (dd.c:__device_attach). */
  #offer(device: string, bound: Bound): void {
    const { override, native } = bound;
    const known = override === undefined ? [native, ...this.#ids.keys()] : [override];
    for (const driver of new Set(known)) {
      if (bound.driver !== undefined) return;
      if (driver === undefined || !this.#matches(driver, bound)) continue;
      this.#listener.claiming(device, driver);
      try {
        this.#attach(device, bound, driver);
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        this.#listener.refused(device, driver, error.reason);
      }
    }
  }

  /** Where nobody has asked for it nobody hears of what is refused. */
  #offerQuietly(device: string, bound: Bound): void {
    try {
      this.#offer(device, bound);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
    }
  }

  #attach(device: string, bound: Bound, driver: string): void {
    this.#listener.probing(device, driver);
    bound.driver = driver;
    this.#listener.bound(device, driver);
    this.#listener.changed(device);
  }

  #find(device: string): Bound {
    const bound = this.#devices.get(device);
    if (!bound) fail("ENODEV", `there is no PCI device ${device}`);
    return bound;
  }
}

/** pci-driver.c:new_id_store and remove_id_store: sscanf() with %x, two numbers at least. */
function readId(text: string): DynamicId {
  const words = /^\s*((?:(?:0x)?[0-9a-f]+\s*)*)/i.exec(text)![1]!.trim().split(/\s+/);
  const numbers = words.filter((word) => word !== "").map((word) => Number.parseInt(word, 16) >>> 0);
  const [vendor, device, subsystemVendor = ANY_ID, subsystemDevice = ANY_ID, deviceClass = 0, classMask = 0] = numbers;
  if (vendor === undefined || device === undefined)
    fail("EINVAL", `"${text.trim()}" is no id: write "VENDOR DEVICE" in hexadecimal, as in "8086 10fb"`);
  return { vendor, device, subsystemVendor, subsystemDevice, class: deviceClass, classMask };
}

function isSameId(a: DynamicId, b: DynamicId): boolean {
  return (Object.keys(a) as (keyof DynamicId)[]).every((key) => a[key] === b[key]);
}
