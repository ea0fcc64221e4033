import { fail } from "../kernel/errors.ts";
import { pciDevices } from "../machine/find-device.ts";
import type { HostDescription } from "../machine/host-description.ts";
import type { DriverBinding } from "./driver-binding.ts";

/** The slots that functions of s390 are in, one each: they can be switched off and on. */
export class ZpciSlots {
  readonly #binding: DriverBinding;
  /** By the function in it, whether it is on. */
  readonly #slots = new Map<string, boolean>();

  constructor(host: HostDescription, binding: DriverBinding) {
    this.#binding = binding;
    for (const { bdf, zpci } of pciDevices(host)) if (zpci) this.#slots.set(bdf, true);
  }

  /** Whether a function is there; those of other machines always are. */
  isOn(device: string): boolean {
    return this.#slots.get(device) ?? true;
  }

  /**
   * Writes to a slot's `power` (drivers/pci/hotplug/s390_pci_hpc.c: enable_slot, disable_slot).
   * @throws KernelError EIO (the slot is so already), EINVAL, EBUSY (the function is open)
   */
  switch(device: string, text: string): void {
    if (text !== "0" && text !== "1") fail("EINVAL", `${JSON.stringify(text)} is neither 0 nor 1`);
    const on = text === "1";
    if (this.isOn(device) === on) fail("EIO", `the slot of ${device} is ${on ? "on" : "off"} already`);
    // a function that comes back has no driver, and none that it is meant for
    if (!on) this.#binding.renew(device);
    this.#slots.set(device, on);
  }
}
