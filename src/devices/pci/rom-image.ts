import type { PciBar, PciIdentity, RomContent } from "../description.ts";

/**
 * Images of expansion ROMs (PCI Firmware Specification, "PCI Expansion ROM"): each begins with 55 aa, names its PCI
 * data structure ("PCIR") and there its length in units of 512 bytes, and whether it is the last.
 */
const UNIT = 512;
const SIGNATURE = 0xaa55;
const POINTER = 0x18;
const PCIR = 0x5249_4350;
const STRUCTURE_SIZE = 0x1c;
const LENGTH = 0x10;
const INDICATOR = 0x15;
const LAST = 0x80;

/**
 * Where firmware keeps its copy of the boot display's ROM, and how much room that has
 * (arch/x86/pci/fixup.c:pci_fixup_video).
 */
export const SHADOW_ROM_ADDRESS = 0xc_0000n;
export const SHADOW_ROM_SIZE = 0x2_0000;

/**
 * Bytes of the images one behind the other, as far as they are right; 0 when the first is not
 * (drivers/pci/rom.c:pci_get_rom_size).
 */
export function romSize(rom: Uint8Array): number {
  const view = new DataView(rom.buffer, rom.byteOffset, rom.byteLength);
  let at = 0;
  for (;;) {
    if (at + POINTER + 2 > rom.length || view.getUint16(at, true) !== SIGNATURE) return at;
    const structure = at + view.getUint16(at + POINTER, true);
    if (structure + STRUCTURE_SIZE > rom.length || view.getUint32(structure, true) !== PCIR) return at;
    const length = view.getUint16(structure + LENGTH, true);
    const isLast = (rom[structure + INDICATOR]! & LAST) !== 0;
    at += length * UNIT;
    if (isLast || length === 0) return Math.min(at, rom.length);
  }
}

/** What a read of a device's ROM gives; undefined where there is nothing to read. */
export function romBytes(
  device: Pick<PciIdentity, "vendor" | "device" | "class"> & { readonly rom?: RomContent },
): Uint8Array | undefined {
  if (device.rom === "none") return undefined;
  return device.rom instanceof Uint8Array ? device.rom : smallestImage(device);
}

/** The BARs with the ROM that a description gives without one. */
export function withRomBar(bars: readonly PciBar[], rom: RomContent | undefined): readonly PciBar[] {
  if (rom === undefined || rom === "none" || bars.some(({ type }) => type === "rom")) return bars;
  const size = rom === "shadow" ? SHADOW_ROM_SIZE : Math.max(2048, 2 ** Math.ceil(Math.log2(rom.length)));
  return [...bars, { index: 6, size, type: "rom" }];
}

/** One image of one unit that does nothing. */
function smallestImage({ vendor, device, class: code }: Pick<PciIdentity, "vendor" | "device" | "class">) {
  const image = new Uint8Array(UNIT);
  const view = new DataView(image.buffer);
  view.setUint16(0, SIGNATURE, true);
  image[2] = 1;
  // retf
  image[3] = 0xcb;
  view.setUint16(POINTER, STRUCTURE_SIZE, true);
  view.setUint32(STRUCTURE_SIZE, PCIR, true);
  view.setUint16(STRUCTURE_SIZE + 4, vendor, true);
  view.setUint16(STRUCTURE_SIZE + 6, device, true);
  view.setUint16(STRUCTURE_SIZE + 10, STRUCTURE_SIZE, true);
  image.set([code & 0xff, (code >> 8) & 0xff, code >>> 16], STRUCTURE_SIZE + 13);
  view.setUint16(STRUCTURE_SIZE + LENGTH, 1, true);
  image[STRUCTURE_SIZE + INDICATOR] = LAST;
  return image;
}
