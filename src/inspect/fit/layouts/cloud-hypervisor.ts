import { type GuestLayout, type LayoutRequest, sized, type Vmm } from "../layout.ts";
import { GIB, KIB, MIB, powerOfTwoAtLeast, roundUp } from "../sizes.ts";

const RESERVED_START = 3n * GIB;
const ABOVE_4G = 4n * GIB;
/** Of `--cpus max_phys_bits`; the host CPU's when that has fewer. */
const MAX_PHYS_BITS = 46;
const HOTPLUG_ALIGN = 1n << 27n;
/** At the end of the address space: left free for the sake of guests, and the VMM's own devices. */
const LEFT_FREE = 64n * KIB;
const PLATFORM_DEVICES = MIB;

function layout({ memory, maxMemory, physBits = MAX_PHYS_BITS, bars64 }: LayoutRequest): GuestLayout {
  const below = memory < RESERVED_START ? memory : RESERVED_START;
  const ramEnd = ABOVE_4G + memory - below;
  const hotplug = maxMemory - memory;
  const hotplugStart = hotplug === 0n ? ramEnd : roundUp(ramEnd, HOTPLUG_ALIGN);
  const memoryEnd = hotplugStart + hotplug;
  // BARs are given out from the end on downwards, each at a multiple of its size
  const barsEnd = (1n << BigInt(physBits)) - LEFT_FREE - PLATFORM_DEVICES;
  const barsSize = powerOfTwoAtLeast(bars64 === 0n ? MIB : bars64);
  const barsStart = roundUp(barsEnd - 2n * barsSize + 1n, barsSize);
  const bars = barsStart >= memoryEnd ? sized("64-bit BARs", "bars", barsStart, barsEnd - barsStart) : [];
  return {
    vmm: "cloud-hypervisor (x86-64)",
    ranges: [
      ...sized("RAM below 3 GiB", "ram", 0n, below),
      ...sized("RAM above 4 GiB", "ram", ABOVE_4G, memory - below),
      ...sized("memory hotplug", "hotplug", hotplugStart, hotplug),
      ...bars.map((range) => ({ ...range, isFatal: true })),
    ],
    highest: memoryEnd - 1n,
    highestIs: "guest memory",
    defaultPhysBits: MAX_PHYS_BITS,
    physBitsAtMost: true,
    physBitsCure: "--cpus max_phys_bits=N, up to the host CPU's",
    barsCure:
      "--cpus max_phys_bits=N, or --platform vfio_p2p_dma=off, with which BARs are not mapped for other devices",
    notes: ["64-bit BARs lie at the end of the guest's address bits"],
    sources: [
      "cloud-hypervisor v53 arch/src/x86_64/layout.rs, mod.rs: arch_memory_regions",
      "cloud-hypervisor v53 vmm/src/memory_manager.rs: start_addr, mmio_address_space_size, vm_config.rs: DEFAULT_MAX_PHYS_BITS",
      "cloud-hypervisor v53 vm-allocator/src/address.rs: first_available_range, pci/src/vfio.rs: map_mmio_regions (a failed map ends it)",
    ],
  };
}

export const cloudHypervisor: Vmm = {
  name: "cloud-hypervisor",
  arch: "x86_64",
  layout,
};
