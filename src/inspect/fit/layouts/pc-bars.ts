import type { IovaRange } from "../../../address/iova-ranges.ts";
import type { Firmware, LayoutRequest } from "../layout.ts";
import { GIB, roundUp, TIB } from "../sizes.ts";

/** What firmware finds in a PC guest. */
export interface PcGuest {
  readonly request: LayoutRequest;
  /** Address bits that the guest's CPU tells. */
  readonly physBits: number;
  /** End of all memory, plugged later or not: where QEMU's own 64-bit window begins. */
  readonly memoryEnd: bigint;
  /** Bytes of RAM from 4 GiB on. */
  readonly ramAbove4g: bigint;
  /** QEMU's own 64-bit window. */
  readonly window: IovaRange;
}

/** Firmware that takes the address bits of the guest's CPU for true, and its name. */
const NAMES: Readonly<Record<Firmware, string>> = {
  seabios: "64-bit BARs under SeaBIOS",
  ovmf: "64-bit BARs under OVMF",
  direct: "64-bit PCI window",
};

/** Guest kernels fail behind 46 bits, so OVMF goes no further (edk2 PlatformAddressWidthFromCpuid). */
const OVMF_MOST_BITS = 46;
/** For the same reason SeaBIOS stays below 44 bits with at most 1 TiB of RAM (seabios src/fw/pciinit.c: pci_setup). */
const SEABIOS_MOST_BITS = 44;

export const FIRMWARE_SOURCES: readonly string[] = [
  "edk2 OvmfPkg/Library/PlatformInitLib/MemDetect.c: PlatformAddressWidthFromCpuid, PlatformDynamicMmioWindow (since edk2-stable202211)",
  "SeaBIOS src/fw/paravirt.c: physbits, src/fw/pciinit.c: pci_setup, pci_bios_map_devices (since 1.16.3)",
];

/** Where 64-bit BARs go, by who places them; firmwares that choose the same place are one. */
export function barRanges(guest: PcGuest): readonly (IovaRange & { readonly name: string })[] {
  const { firmware } = guest.request;
  if (firmware !== undefined) return [{ ...placeOf(firmware, guest), name: NAMES[firmware] }];
  const seabios = placeOf("seabios", guest);
  const ovmf = placeOf("ovmf", guest);
  if (seabios.start === ovmf.start && seabios.last === ovmf.last)
    return [{ ...seabios, name: seabios.start === guest.window.start ? NAMES.direct : "64-bit BARs" }];
  const both = [
    { ...seabios, name: NAMES.seabios },
    { ...ovmf, name: NAMES.ovmf },
  ];
  return seabios.start < ovmf.start ? both : both.reverse();
}

function placeOf(firmware: Firmware, guest: PcGuest): IovaRange {
  if (firmware === "direct" || !isBelieved(guest)) return guest.window;
  return firmware === "ovmf" ? ovmfWindow(guest) : seabiosWindow(guest);
}

/**
 * QEMU tells 40 bits whatever the host has, unless it is told otherwise. So both firmwares believe 41 and more, and of
 * less only what CPUs of the vendor really have.
 */
function isBelieved({ physBits, request: { cpuVendor } }: PcGuest): boolean {
  if (physBits >= 41) return true;
  return cpuVendor === "amd" ? physBits === 40 : physBits === 36 || physBits === 39;
}

/** The last eighth of the address space, when it lies behind all memory. */
function ovmfWindow({ physBits, window }: PcGuest): IovaRange {
  const bits = BigInt(Math.min(physBits, OVMF_MOST_BITS));
  const end = 1n << bits;
  const size = end >> 3n;
  // 32 GiB is the size that OVMF asks for when it does not take an eighth (PcdPciMmio64Size)
  if (32n * GIB >= size || window.start + size >= end) return window;
  return { start: end - size, last: end - 1n };
}

/** As much as the BARs need at the end of the address space; whole eighths of it when there is RAM above 4 GiB. */
function seabiosWindow({ physBits, memoryEnd, ramAbove4g, request, window }: PcGuest): IovaRange {
  const bits = physBits > SEABIOS_MOST_BITS && ramAbove4g < TIB ? SEABIOS_MOST_BITS : physBits;
  const end = 1n << BigInt(bits);
  const needed = roundUp(request.bars64 === 0n ? GIB : request.bars64, GIB);
  const size = ramAbove4g > 0n ? roundUp(needed, end >> 3n) : needed;
  const start = end - size;
  return start > memoryEnd ? { start, last: end - 1n } : window;
}
