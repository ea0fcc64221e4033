import { PeerError } from "../../../vfio-user/peer-error.ts";
import type { PciBar } from "../../description.ts";
import * as pci from "../../pci/registers.ts";

const BARS = 6;
const LEAST = { io: 4, memory: 16, rom: 2048 };

/**
 * The BARs behind regions of a size. A BAR is a power of two: a region of another size has one that it fits in, which
 * answers nothing behind it.
 */
export function remoteBars(config: Uint8Array, regions: readonly { readonly size: number }[]): readonly PciBar[] {
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  if ((view.getUint8(pci.PCI_HEADER_TYPE) & 0x7f) !== 0) throw new PeerError("it serves a bridge");
  const bars: PciBar[] = [];
  for (let index = 0; index < BARS; index++) {
    const size = regions[index]?.size ?? 0;
    if (size === 0) continue;
    const register = view.getUint32(pci.PCI_BASE_ADDRESS_0 + 4 * index, true);
    if (register & pci.PCI_BASE_ADDRESS_SPACE_IO) {
      bars.push({ index, size: powerOfTwo(size, LEAST.io), type: "io" });
      continue;
    }
    const prefetch = (register & pci.PCI_BASE_ADDRESS_MEM_PREFETCH) !== 0;
    const isWide = (register & pci.PCI_BASE_ADDRESS_MEM_TYPE_64) !== 0;
    if (isWide && (index === BARS - 1 || (regions[index + 1]?.size ?? 0) !== 0))
      throw new PeerError(`its BAR ${index} has 64 bits, and so no place`);
    bars.push({
      index,
      size: powerOfTwo(size, LEAST.memory),
      type: isWide ? "memory64" : "memory",
      ...(prefetch && { prefetch }),
    });
  }
  const rom = regions[pci.ROM_BAR]?.size ?? 0;
  if (rom > 0) bars.push({ index: pci.ROM_BAR, size: powerOfTwo(rom, LEAST.rom), type: "rom" });
  return bars;
}

function powerOfTwo(size: number, least: number): number {
  return Math.max(least, 2 ** Math.ceil(Math.log2(size)));
}
