import { type GuestLayout, hasSince, type LayoutRequest, sized, type Vmm, versionText } from "../layout.ts";
import { GIB, MIB, roundUp, sizeText } from "../sizes.ts";

const RAM_START = GIB;
const LEGACY_RAM_LIMIT = 255n * GIB;
const REDISTRIBUTORS = 64n * MIB;
const ECAM = 256n * MIB;
const MMIO = 512n * GIB;

function layout({ memory, maxMemory, slots, version }: LayoutRequest): GuestLayout {
  const deviceStart = roundUp(RAM_START + memory, GIB);
  const pluggable = maxMemory - memory;
  const device = pluggable === 0n ? 0n : pluggable + BigInt(slots) * GIB;
  const memoryEnd = deviceStart + roundUp(device, GIB);
  // the windows float behind memory, but never below 256 GiB, each at a multiple of its size
  const floating = memoryEnd > RAM_START + LEGACY_RAM_LIMIT ? memoryEnd : RAM_START + LEGACY_RAM_LIMIT;
  const ecam = roundUp(roundUp(floating, REDISTRIBUTORS) + REDISTRIBUTORS, ECAM);
  const window = roundUp(ecam + ECAM, MMIO);
  const tooOld = !hasSince(version, "4.0") && maxMemory > LEGACY_RAM_LIMIT;
  return {
    vmm: `QEMU virt${version ? `-${versionText(version)}` : " (machine version 4.0 or newer)"}`,
    ranges: [
      ...sized("RAM", "ram", RAM_START, memory),
      ...sized("memory hotplug", "hotplug", deviceStart, device),
      ...sized("64-bit PCI window", "bars", window, MMIO),
    ],
    // the windows are left out when they do not fit, memory is not
    highest: memoryEnd - 1n,
    highestIs: "guest memory",
    physBitsCure: "a host whose KVM offers more IPA bits (KVM_CAP_ARM_VM_IPA_SIZE)",
    ...(tooOld && {
      refusal: `virt before version 4.0 has at most ${sizeText(LEGACY_RAM_LIMIT)} of memory: use virt-4.0 or newer`,
    }),
    notes: ["flash and devices lie below 1 GiB and are not mapped for DMA"],
    sources: ["QEMU hw/arm/virt.c: base_memmap, extended_memmap, virt_set_memmap (255 GiB limit until 4.0)"],
  };
}

export const virt: Vmm = {
  name: "virt",
  arch: "arm64",
  oldest: { major: 2, minor: 6 },
  layout,
};
