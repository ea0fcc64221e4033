import type { PciFunction } from "../../devices/pci/function.ts";
import { canMaskIntx } from "../../devices/pci/known-interrupts.ts";
import { fail } from "../../kernel/errors.ts";
import { hasVfioDriver } from "../../machine/device-nodes.ts";
import { allDevices } from "../../machine/find-device.ts";
import type { HostDescription } from "../../machine/host-description.ts";

/** Who has a handler on an interrupt line. */
interface Handler {
  readonly name: string;
  /** Registered without IRQF_SHARED. */
  readonly exclusive: boolean;
}

/**
 * The interrupt lines of a host, as far as its description numbers them. vfio-pci shares a line when the device can
 * mask INTx itself; else it wants the line alone, and request_irq() is EBUSY while another has a handler there
 * (vfio_pci_intrs.c:vfio_intx_enable).
 */
export class InterruptLines {
  readonly #handlers = new Map<number, Handler[]>();

  constructor(host: HostDescription) {
    for (const { device } of allDevices(host)) {
      if (device.bus !== "pci" || device.irq === undefined || device.irq === 0) continue;
      const handlers = this.#at(device.irq);
      if (device.driver !== null && !hasVfioDriver(device))
        handlers.push({ name: `${device.bdf} (${device.driver})`, exclusive: false });
    }
  }

  /**
   * A device's INTx is set up. EBUSY, ENODEV.
   * @returns what is called when it is taken down
   */
  request({ name, description }: PciFunction): () => void {
    const { irq, irqSharedWith } = description;
    if (irq === 0) fail("ENODEV", `${name} has no interrupt line`);
    const exclusive = !canMaskIntx(description);
    if (exclusive && irqSharedWith !== undefined) refuse(name, irq, irqSharedWith, name);
    if (irq === undefined) return () => {};
    const handlers = this.#at(irq);
    const other = handlers.find((handler) => exclusive || handler.exclusive);
    if (other) refuse(name, irq, other.name, exclusive ? name : other.name);
    const handler = { name, exclusive };
    handlers.push(handler);
    return () => handlers.splice(handlers.indexOf(handler), 1);
  }

  #at(irq: number): Handler[] {
    const handlers = this.#handlers.get(irq) ?? [];
    this.#handlers.set(irq, handlers);
    return handlers;
  }
}

function refuse(name: string, irq: number | undefined, other: string, alone: string): never {
  const line = irq === undefined ? "its interrupt line" : `interrupt line ${irq}`;
  fail(
    "EBUSY",
    `${name} shares ${line} with ${other}, and ${alone} cannot mask INTx itself, so it needs the line alone: use MSI, or unbind the other`,
  );
}
