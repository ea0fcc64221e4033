import { type GuestLayout, type LayoutRequest, sized, type Vmm, windowOf } from "../layout.ts";
import { GIB, MIB, roundUp } from "../sizes.ts";

const ABOVE_4G = 4n * GIB;
/** Where PCI below 4 GiB starts: MEM_32BIT_GAP_SIZE. */
const PCI_START = ABOVE_4G - 768n * MIB;
/** PCIe config space and, twice as large, its virtual config space behind memory. */
const VCFG = 2n * 64n * MIB;
/** Of the guest's address bits, so many are used for high MMIO. */
const HIGH_MMIO_BITS = 46;

function layout({ memory, physBits = HIGH_MMIO_BITS, bars64 }: LayoutRequest): GuestLayout {
  const below = memory < PCI_START ? memory : PCI_START;
  const ramEnd = ABOVE_4G + memory - below;
  const window = roundUp(ramEnd, 2n * MIB) + VCFG;
  const end = 1n << BigInt(Math.min(physBits, HIGH_MMIO_BITS));
  return {
    vmm: "crosvm (x86-64)",
    ranges: [
      ...sized("RAM below 4 GiB", "ram", 0n, below),
      ...sized("RAM above 4 GiB", "ram", ABOVE_4G, memory - below),
      ...(window < end ? sized("high MMIO", "bars", window, end - window).map((range) => windowOf(range, bars64)) : []),
    ],
    highest: (memory > below ? ramEnd : ABOVE_4G) - 1n,
    highestIs: "guest memory",
    defaultPhysBits: HIGH_MMIO_BITS,
    physBitsAtMost: true,
    physBitsCure: "a host CPU with N address bits",
    notes: ["the first MiB is three mappings; a BIOS, if there is one, ends at 4 GiB and is not counted"],
    sources: [
      "crosvm (August 2026) x86_64/src/lib.rs: arch_memory_regions, create_arch_memory_layout, get_high_mmio_range",
      "crosvm (August 2026) devices/src/vfio.rs: get_group_with_vm",
    ],
  };
}

export const crosvm: Vmm = {
  name: "crosvm",
  arch: "x86_64",
  layout,
};
