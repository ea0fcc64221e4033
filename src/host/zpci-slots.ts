import { fail } from "../kernel/errors.ts";
import { allDevices } from "../machine/find-device.ts";
import type { HostDescription } from "../machine/host-description.ts";
import { slotPath } from "../machine/sysfs/zpci.ts";
import type { DriverBinding } from "./driver-binding.ts";

const POWER = /^(.*)\/power$/;
const RECOVER = /^\/sys\/bus\/pci\/devices\/([^/]+)\/recover$/;

interface Slot {
  readonly bdf: string;
  readonly group: number;
  isOn: boolean;
}

/** The slots that functions of s390 are in, one each: they can be switched off and on, and a function can be made anew. */
export class ZpciSlots {
  readonly #binding: DriverBinding;
  /** By their directory below /sys/bus/pci/slots. */
  readonly #slots = new Map<string, Slot>();

  constructor(host: HostDescription, binding: DriverBinding) {
    this.#binding = binding;
    for (const { device, group } of allDevices(host))
      if (device.bus === "pci" && device.zpci)
        this.#slots.set(slotPath(device.zpci.functionId), { bdf: device.bdf, group: group.id, isOn: true });
  }

  /** What a slot's `power` file says; undefined for other files. */
  read(path: string): string | undefined {
    const slot = this.#slotOf(path);
    return slot && (slot.isOn ? "1\n" : "0\n");
  }

  /**
   * Writes to a slot's `power` (drivers/pci/hotplug/s390_pci_hpc.c: enable_slot, disable_slot) or to `recover` of a function
   * (arch/s390/pci/pci_sysfs.c:recover_store). Returns false for other files.
   * @throws KernelError EIO (the slot is so already), EINVAL, EBUSY (the function is open)
   */
  write(path: string, text: string): boolean {
    const slot = this.#slotOf(path);
    if (slot) this.#switch(slot, text);
    const recovered = slot ? undefined : this.#recoveredBy(path);
    if (recovered && text === "1") this.#binding.renew(recovered);
    return slot !== undefined || recovered !== undefined;
  }

  /** Whether a path names something of a function that is switched off. */
  hides(path: string): boolean {
    const parts = path.split("/");
    const group = /^\/sys\/kernel\/iommu_groups\/(\d+)/.exec(path)?.[1];
    return [...this.#slots.values()].some(
      (slot) => !slot.isOn && (parts.includes(slot.bdf) || group === String(slot.group)),
    );
  }

  #switch(slot: Slot, text: string): void {
    if (text !== "0" && text !== "1") fail("EINVAL", `${JSON.stringify(text)} is neither 0 nor 1`);
    const on = text === "1";
    if (slot.isOn === on) fail("EIO", `the slot of ${slot.bdf} is ${on ? "on" : "off"} already`);
    // a function that comes back has no driver, and none that it is meant for
    if (!on) this.#binding.renew(slot.bdf);
    slot.isOn = on;
  }

  #slotOf(path: string): Slot | undefined {
    const at = POWER.exec(path)?.[1];
    return at === undefined ? undefined : this.#slots.get(at);
  }

  #recoveredBy(path: string): string | undefined {
    const bdf = RECOVER.exec(path)?.[1];
    return [...this.#slots.values()].some((slot) => slot.bdf === bdf && slot.isOn) ? bdf : undefined;
  }
}
