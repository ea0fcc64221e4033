import type { PciIdentity } from "../description.ts";
import type { AccessWidth, RegionMemory } from "../device-model.ts";
import type { PciDeviceKind } from "../kind.ts";
import { msi } from "../pci/capability-kit.ts";
import { GenericDevice } from "./generic.ts";

/** What a BAR of a device shows to who does not drive it. */
interface BarAtRest {
  /** Registers that are not 0 after reset, by offset: 32 bits each. */
  readonly registers?: Readonly<Record<number, number>>;
  /** The first byte behind which the device decodes nothing; all of the BAR when left out. */
  readonly end?: number;
  /**
   * Registers are 32 bits wide, and an access that is narrower gets the low part of its register (QEMU:
   * impl.min_access_size 4).
   */
  readonly wholeRegisters?: true;
}

const MSIX_ONLY: BarAtRest = { end: 0 };
const FLASH: BarAtRest = { end: 0 };

/** QEMU's devices by "vendor:device" and BAR, recorded on s390x (s_bar_A to _E). BARs that are not here are memory. */
const AT_REST: Readonly<Record<string, Readonly<Record<number, BarAtRest>>>> = {
  // virtio-rng; device_feature of its common configuration: indirect descriptors, event index
  "1af4:1044": { 1: MSIX_ONLY, 4: { registers: { 4: 0x3000_0000 } } },
  "1af4:1041": { 1: MSIX_ONLY, 4: { registers: { 4: 0x30bf_8024 } } },
  // e1000e: CTRL, STATUS, PBA
  "8086:10d3": {
    0: { registers: { 0: 0x0014_0241, 8: 0x0008_0283, 4096: 0x0014_0014 }, wholeRegisters: true },
    1: FLASH,
    3: MSIX_ONLY,
  },
  // igb: CTRL, STATUS
  "8086:10c9": {
    0: { registers: { 0: 0x0010_0209, 8: 0x8008_0481 }, wholeRegisters: true },
    1: FLASH,
    3: MSIX_ONLY,
  },
};

/**
 * A function of s390 with nobody in its place: registers are memory that has the reset values of QEMU's devices. Loads
 * from places where a device decodes nothing fail on s390, and the kernel gives all ones for them
 * (arch/s390/include/asm/pci_io.h: zpci_read).
 */
export class ZpciAtRest extends GenericDevice {
  readonly #bars: Readonly<Record<number, BarAtRest>>;

  constructor(device: Pick<PciIdentity, "vendor" | "device">) {
    const bars = AT_REST[`${hex4(device.vendor)}:${hex4(device.device)}`] ?? {};
    super(new Map(Object.entries(bars).map(([index, bar]) => [Number(index), initialBytes(bar)])));
    this.#bars = bars;
  }

  override read(region: number, offset: number, width: AccessWidth): bigint {
    const bar = this.#bars[region];
    if (bar?.end !== undefined && offset >= bar.end) return (1n << BigInt(8 * width)) - 1n;
    if (!bar?.wholeRegisters || width >= 4) return super.read(region, offset, width);
    return BigInt.asUintN(8 * width, super.read(region, offset - (offset % 4), 4));
  }

  override write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    const bar = this.#bars[region];
    if (bar?.end === undefined || offset < bar.end) super.write(region, offset, width, value);
  }

  override memory(region: number): RegionMemory | undefined {
    return this.#bars[region] === undefined ? super.memory(region) : undefined;
  }
}

function initialBytes({ registers = {} }: BarAtRest): Uint8Array {
  const offsets = Object.keys(registers).map(Number);
  const bytes = new Uint8Array(offsets.length === 0 ? 0 : Math.max(...offsets) + 4);
  const view = new DataView(bytes.buffer);
  for (const offset of offsets) view.setUint32(offset, registers[offset]!, true);
  return bytes;
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, "0");
}

/** What functions of s390 are when nothing else is said; which device it is, the ids tell. */
export const zpciAtRest: PciDeviceKind = {
  bus: "pci",
  model: "zpci",
  title: "a device on s390 that nobody drives",
  atRest: true,
  devices: [],
  mmap: true,
  translates: false,
  config: () => ({ interruptPin: false, capabilities: [msi({ vectors: 1 })] }),
  create: (_bus, { ids = { vendor: 0, device: 0 } }) => new ZpciAtRest(ids),
};
