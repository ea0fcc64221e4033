import type { DeviceBus } from "../../device-model.ts";
import type { MemoryRegion } from "../../memory-region.ts";

type MemoryBus = Pick<DeviceBus, "dmaRead" | "dmaWrite" | "fetchMemory" | "showMemory">;

/** A region of the controller's own memory that commands may name by an address. */
export interface MemoryWindow {
  readonly region: MemoryRegion;
  /** Whose memory it is. */
  readonly bar: number;
  readonly size: number;
  /** Where its first byte is; undefined while it is off. */
  base: bigint | undefined;
}

/** What the addresses in commands lead to: the host's memory, but for windows of the controller's own. */
export class ControllerMemory {
  readonly #bus: MemoryBus;
  readonly #windows: readonly MemoryWindow[];

  constructor(bus: MemoryBus, windows: readonly MemoryWindow[]) {
    this.#bus = bus;
    this.#windows = windows;
  }

  /** Whether all bytes were read; those that were not are zeros. */
  read(address: bigint, into: Uint8Array): boolean {
    const inside = this.#inWindow(address, into.length);
    if (!inside) return this.#bus.dmaRead(address, into);
    this.#bus.fetchMemory?.(inside.bar, inside.offset, into.length);
    inside.region.readBytes(inside.offset, into);
    return true;
  }

  /** Whether all bytes arrived. */
  write(address: bigint, from: Uint8Array): boolean {
    const inside = this.#inWindow(address, from.length);
    if (!inside) return this.#bus.dmaWrite(address, from);
    inside.region.writeBytes(inside.offset, from);
    this.#bus.showMemory?.(inside.bar, inside.offset, from.length);
    return true;
  }

  #inWindow(address: bigint, length: number) {
    for (const { region, bar, size, base } of this.#windows) {
      if (base === undefined || address < base || address + BigInt(length) > base + BigInt(size)) continue;
      return { region, bar, offset: Number(address - base) };
    }
    return undefined;
  }
}
