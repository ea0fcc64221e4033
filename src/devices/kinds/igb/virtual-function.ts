import type { AccessWidth, DeviceBus, DeviceModel, MappedRegister, OtherFunctions } from "../../device-model.ts";
import { REGISTER_BAR } from "../../gigabit/port.ts";
import { IgbDevice } from "./igb-device.ts";
import { physicalOffset } from "./virtual-registers.ts";

const ALIGNED = ~3;
/** What a program that maps the registers may use: all of the window that there are. */
const WINDOW = 0x4000;

/** A virtual function of an 82576: a window on the queues, vectors and mailbox that it has of the physical one's. */
export class IgbVirtualFunction implements DeviceModel {
  readonly #bus: DeviceBus;
  readonly #place: { readonly physical: string; readonly index: number } | undefined;
  /** Absent for one whose physical function is no model of ours: it has no registers then. */
  #physical: IgbDevice | undefined;

  constructor(bus: DeviceBus, place: { readonly physical: string; readonly index: number } | undefined) {
    this.#bus = bus;
    this.#place = place;
  }

  connect(others: OtherFunctions): void {
    const found = this.#place && others.find(this.#place.physical);
    if (!(found instanceof IgbDevice)) return;
    this.#physical = found;
    found.attach(this.#place!.index, this.#bus);
  }

  read(region: number, offset: number, width: AccessWidth): bigint {
    if (region !== REGISTER_BAR) return 0n;
    if (width === 8) return this.read(region, offset, 4) | (this.read(region, offset + 4, 4) << 32n);
    const there = this.#find(offset, false);
    return there === undefined ? 0n : BigInt.asUintN(8 * width, BigInt(this.#physical!.readRegister(there)));
  }

  write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    if (region !== REGISTER_BAR) return;
    const there = this.#find(offset, true);
    if (there !== undefined) this.#physical!.writeRegister(there, Number(BigInt.asUintN(32, value)));
    if (width === 8) this.write(region, offset + 4, 4, value >> 32n);
  }

  #find(offset: number, write: boolean): number | undefined {
    return this.#physical && physicalOffset(offset & ALIGNED, this.#place!.index, write);
  }

  /** Its queues stop, and the physical function hears of it. */
  reset(): void {
    this.#physical?.resetFunction(this.#place!.index);
  }

  memory(): undefined {
    return undefined;
  }

  registers(region: number): readonly MappedRegister[] {
    if (region !== REGISTER_BAR) return [];
    return Array.from({ length: WINDOW / 4 }, (_, i) => 4 * i)
      .filter((offset) => physicalOffset(offset, this.#place?.index ?? 0, true) !== undefined || offset === 8)
      .map((offset) => ({ offset, width: 4 as const }));
  }

  shows(region: number, offset: number, width: AccessWidth): bigint {
    const there = this.#find(offset, false);
    return there === undefined ? 0n : this.#physical!.shows(region, there, width);
  }

  /** What the physical function did by itself may show here. */
  advance(): boolean {
    return true;
  }
}
