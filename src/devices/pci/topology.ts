import type { PciFunction } from "./function.ts";
import { hasDeviceFlr } from "./reset-methods.ts";

/** A PCI address: "0000:04:02.1" */
export interface PciAddress {
  readonly segment: number;
  readonly bus: number;
  /** Slot in the high five bits, function in the low three. */
  readonly devfn: number;
}

export function parseAddress(bdf: string): PciAddress {
  const [segment, bus, rest] = bdf.split(":");
  const [slot, func] = rest!.split(".");
  const number = (text: string | undefined) => Number.parseInt(text!, 16);
  return { segment: number(segment), bus: number(bus), devfn: (number(slot) << 3) | number(func) };
}

/** All functions of a machine and how they hang together, as far as resets need it. */
export class PciTopology {
  readonly #functions = new Map<string, PciFunction | undefined>();
  readonly #make: (name: string) => PciFunction;

  /** @param make makes a function of one of the names when somebody first looks for it */
  constructor(names: Iterable<string>, make: (name: string) => PciFunction) {
    for (const name of names) this.#functions.set(name, undefined);
    this.#make = make;
  }

  /** A function has come. */
  add(target: PciFunction): void {
    this.#functions.set(target.name, target);
  }

  /** A function is gone. */
  remove(name: string): void {
    this.#functions.delete(name);
  }

  find(name: string): PciFunction | undefined {
    const found = this.#functions.get(name);
    if (found || !this.#functions.has(name)) return found;
    const made = this.#make(name);
    this.#functions.set(name, made);
    return made;
  }

  *all(): Iterable<PciFunction> {
    for (const name of this.#functions.keys()) yield this.find(name)!;
  }

  /** Those that somebody has looked for. */
  *made(): Iterable<PciFunction> {
    for (const found of this.#functions.values()) if (found) yield found;
  }

  /** A function that somebody has looked for. */
  findMade(name: string): PciFunction | undefined {
    return this.#functions.get(name);
  }

  /** The functions on the same bus, this one included, in the order of their addresses. */
  sameBus(name: string): PciFunction[] {
    const here = parseAddress(name);
    return [...this.#functions.keys()]
      .filter((other) => {
        const { segment, bus } = parseAddress(other);
        return segment === here.segment && bus === here.bus;
      })
      .map((other) => this.find(other)!)
      .sort((a, b) => parseAddress(a.name).devfn - parseAddress(b.name).devfn);
  }

  /**
   * Whether there is something above the function's bus that can reset it: a bridge (bus 0 of a segment is its root),
   * or on s390 the slot, which each function has to itself (drivers/pci/hotplug/s390_pci_hpc.c:reset_slot).
   */
  hasResetAbove(name: string): boolean {
    return parseAddress(name).bus !== 0 || this.find(name)?.description.zpci !== undefined;
  }

  /** Whether the function can be reset without touching others (drivers/pci/pci.c: pci_reset_fn_methods). */
  canResetAlone(target: PciFunction): boolean {
    if (hasDeviceFlr(target) || target.model.canReset) return true;
    return this.hasResetAbove(target.name) && this.sameBus(target.name).length === 1;
  }
}
