import { type GuestLayout, type LayoutRequest, sized, type Vmm } from "../layout.ts";
import { GIB, roundUp } from "../sizes.ts";

const RESERVED_START = 3n * GIB;
const ABOVE_4G = 4n * GIB;
/** Of `--cpus max_phys_bits`; the host CPU's when that has fewer. */
const MAX_PHYS_BITS = 46;
const HOTPLUG_ALIGN = 1n << 27n;

function layout({ memory, maxMemory }: LayoutRequest): GuestLayout {
  const below = memory < RESERVED_START ? memory : RESERVED_START;
  const ramEnd = ABOVE_4G + memory - below;
  const hotplug = maxMemory - memory;
  const hotplugStart = hotplug === 0n ? ramEnd : roundUp(ramEnd, HOTPLUG_ALIGN);
  return {
    vmm: "cloud-hypervisor (x86-64)",
    ranges: [
      ...sized("RAM below 3 GiB", "ram", 0n, below),
      ...sized("RAM above 4 GiB", "ram", ABOVE_4G, memory - below),
      ...sized("memory hotplug", "hotplug", hotplugStart, hotplug),
    ],
    highest: hotplugStart + hotplug - 1n,
    highestIs: "guest memory",
    defaultPhysBits: MAX_PHYS_BITS,
    physBitsCure: "--cpus max_phys_bits=N, up to the host CPU's",
    notes: [
      "64-bit BARs lie between the end of memory and the end of the guest's address bits; they are not checked here",
    ],
    sources: [
      "cloud-hypervisor v53 arch/src/x86_64/layout.rs, mod.rs: arch_memory_regions",
      "cloud-hypervisor v53 vmm/src/memory_manager.rs: start_addr, vm_config.rs: DEFAULT_MAX_PHYS_BITS",
    ],
  };
}

export const cloudHypervisor: Vmm = {
  name: "cloud-hypervisor",
  arch: "x86_64",
  layout,
};
