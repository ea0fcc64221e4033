import type { AccessWidth, DeviceModel, RegionMemory } from "../device-model.ts";
import type { PciDeviceKind } from "../kind.ts";
import { MemoryRegion } from "../memory-region.ts";
import { PLAIN_CONFIG } from "../pci/compose-config.ts";
import { ROM_BAR } from "../pci/registers.ts";

/** A device whose registers are plain memory. It does nothing of its own. */
export class GenericDevice implements DeviceModel {
  readonly #regions = new Map<number, MemoryRegion>();
  readonly #initial: ReadonlyMap<number, Uint8Array>;

  /** @param initial the first bytes of regions after reset */
  constructor(initial: ReadonlyMap<number, Uint8Array> = new Map()) {
    this.#initial = initial;
  }

  read(region: number, offset: number, width: AccessWidth): bigint {
    return this.#region(region).read(offset, width);
  }

  write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    this.#region(region).write(offset, width, value);
  }

  reset(): void {
    for (const region of this.#regions.values()) region.reset();
  }

  memory(region: number): RegionMemory | undefined {
    return this.#region(region);
  }

  registers(): readonly [] {
    return [];
  }

  #region(number: number): MemoryRegion {
    let region = this.#regions.get(number);
    if (region === undefined) {
      region = new MemoryRegion(this.#initial.get(number));
      this.#regions.set(number, region);
    }
    return region;
  }
}

/** What answers for a device that nothing else drives. */
export const generic: PciDeviceKind = {
  bus: "pci",
  model: "generic",
  title: "registers that are plain memory",
  devices: [],
  mmap: true,
  translates: false,
  config: () => PLAIN_CONFIG,
  canWait: () => true,
  create: (_bus, { rom }) => new GenericDevice(new Map(rom ? [[ROM_BAR, rom]] : [])),
};
