import type { AccessWidth, RegionMemory } from "../device-model.ts";
import type { PciDeviceKind } from "../kind.ts";
import { msi, powerManagement } from "../pci/capability-kit.ts";
import { ROM_BAR } from "../pci/registers.ts";
import { GenericDevice } from "./generic.ts";

/** CTRL and STATUS as recorded (d_msix_mmap). */
const REGISTERS = Uint8Array.from([0x41, 0x02, 0x14, 0x00, 0, 0, 0, 0, 0x83, 0x02, 0x08, 0x00]);

/** The start of the expansion ROM as recorded (d_rom): signature, entry, the PCI data structure. */
const ROM = bytesOf(`
  55aad5e9a200aa0000000000000000009c000000000084001c00400050434952
  8680d310c0041c0003000002d50001000000070000000000902e8db4000089f6`);

const REGISTER_BAR = 0;
const IO_BAR = 2;
/** The I/O window: IOADDR names a register, IODATA is that register (82574 datasheet, 13.2.3). */
const IOADDR = 0;
const IODATA = 4;
const WINDOW = 0x1_ffffn;

/**
 * Intel 82574L as QEMU's e1000e shows it to who does not drive it: registers with their reset values, the I/O window,
 * the ROM.
 */
export class E1000e extends GenericDevice {
  /** @param rom another image than QEMU's */
  constructor(rom: Uint8Array = ROM) {
    super(
      new Map([
        [REGISTER_BAR, REGISTERS],
        [ROM_BAR, rom],
      ]),
    );
  }

  override read(region: number, offset: number, width: AccessWidth): bigint {
    if (region !== IO_BAR || offset < IODATA) return super.read(region, offset, width);
    if (offset >= IODATA + 4) return 0n;
    return super.read(REGISTER_BAR, this.#address() + offset - IODATA, width);
  }

  override write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    if (region === ROM_BAR) return;
    if (region !== IO_BAR || offset < IODATA) super.write(region, offset, width, value);
    else if (offset < IODATA + 4) super.write(REGISTER_BAR, this.#address() + offset - IODATA, width, value);
  }

  override memory(region: number): RegionMemory | undefined {
    if (region === IO_BAR) return undefined;
    const memory = super.memory(region)!;
    return region === ROM_BAR ? readOnly(memory) : memory;
  }

  #address(): number {
    return Number(super.read(IO_BAR, IOADDR, 4) & WINDOW);
  }
}

/** The network card by itself: it sends and receives nothing. */
export const e1000e: PciDeviceKind = {
  bus: "pci",
  model: "e1000e",
  title: "Intel 82574L",
  atRest: true,
  devices: [
    {
      vendor: 0x8086,
      device: 0x10d3,
      class: 0x020000,
      subsystemVendor: 0x8086,
      subsystemDevice: 0x0000,
      bars: [
        { index: REGISTER_BAR, size: 0x2_0000, type: "memory" },
        { index: 1, size: 0x2_0000, type: "memory" },
        { index: IO_BAR, size: 0x20, type: "io" },
        { index: 3, size: 0x4000, type: "memory" },
        { index: ROM_BAR, size: 0x4_0000, type: "rom" },
      ],
    },
  ],
  mmap: true,
  translates: false,
  // recorded on pseries, where nothing else can reset it (a04): VFIO_DEVICE_FLAGS_RESET
  config: () => ({
    interruptPin: true,
    capabilities: [msi({ vectors: 1 }), powerManagement({ version: 2, resetsInD3: true })],
  }),
  create: (_bus, { rom }) => new E1000e(rom),
};

/** Writes are lost. */
function readOnly(memory: RegionMemory): RegionMemory {
  return {
    readBytes: (offset, into) => memory.readBytes(offset, into),
    writeBytes: () => {},
    pages: () => memory.pages(),
  };
}

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/[0-9a-f]{2}/g)!, (digits) => Number.parseInt(digits, 16));
}
