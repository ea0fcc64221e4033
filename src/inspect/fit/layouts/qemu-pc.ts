import { type GuestLayout, hasSince, type LayoutRequest, sized, versionText, windowOf } from "../layout.ts";
import { bitsFor, GIB, KIB, powerOfTwoAtLeast, roundUp, TIB } from "../sizes.ts";
import { barRanges, FIRMWARE_SOURCES } from "./pc-bars.ts";

/** The HyperTransport addresses as QEMU knows them (hw/i386/pc.c: AMD_HT_START, AMD_ABOVE_1TB_START). */
const AMD_HYPERTRANSPORT_START = 0xfd_0000_0000n;
const AMD_ABOVE_1TIB = TIB;
const ABOVE_4G = 4n * GIB;
/** TCG_PHYS_ADDR_BITS (target/i386/cpu.h): named CPU models have it also under KVM, -cpu host has the host's. */
const DEFAULT_PHYS_BITS = 40;

/** What differs between QEMU's two PC machines. */
export interface PcMachine {
  /** "pc-q35". */
  readonly prefix: string;
  /** Most bytes below 4 GiB for so much memory. */
  lowMemory(request: LayoutRequest): bigint;
  /** Default of the host bridge's pci-hole64-size. */
  readonly hole64: bigint;
  readonly sources: readonly string[];
}

/**
 * QEMU's PC: memory below 4 GiB, firmware at the end of 4 GiB, the rest from 4 GiB on, behind it what can be plugged
 * and the 64-bit PCI window. Since machine version 7.1 all that lies from 4 GiB on starts at 1 TiB for an AMD CPU when
 * the end of the window would reach the HyperTransport addresses. The tests hold what QEMU 7.2.22 itself prints (`info
 * mtree -f`) for these rules.
 */
export function pcLayout(machine: PcMachine, request: LayoutRequest): GuestLayout {
  const { memory, version, cpuVendor } = request;
  const most = machine.lowMemory(request);
  const below = memory < most ? memory : most;
  const relocates = cpuVendor === "amd" && hasSince(version, "7.1");
  const normal = above(request, machine, below, ABOVE_4G);
  const relocated = relocates && normal.end > AMD_HYPERTRANSPORT_START;
  const high = relocated ? above(request, machine, below, AMD_ABOVE_1TIB) : normal;
  const firmware = hasSince(version, "2.0") ? 256n * KIB : 128n * KIB;
  const windows = barRanges({
    request,
    physBits: request.physBits ?? Math.max(DEFAULT_PHYS_BITS, bitsFor(high.end - 1n)),
    memoryEnd: high.window.start,
    ramAbove4g: memory - below,
    window: high.window,
  });
  return {
    vmm: `QEMU ${machine.prefix}${version ? `-${versionText(version)}` : " (machine version 7.1 or newer)"}`,
    ranges: [
      ...sized("RAM below 4 GiB", "ram", 0n, below),
      ...sized("firmware (pc.bios)", "firmware", ABOVE_4G - firmware, firmware),
      ...high.ranges,
      ...windows.map((range) => windowOf({ ...range, kind: "bars" }, request.bars64)),
    ],
    highest: high.end - 1n,
    highestIs: "the 64-bit PCI window",
    defaultPhysBits: DEFAULT_PHYS_BITS,
    physBitsCure: "-cpu host, or -cpu MODEL,phys-bits=N",
    barsCure:
      "-cpu MODEL,phys-bits=N, or -cpu host,host-phys-bits-limit=N (libvirt: <maxphysaddr mode='emulate' bits='N'/>, or with host-passthrough <maxphysaddr mode='passthrough' limit='N'/>)",
    notes: [
      ...(request.physBits === undefined
        ? [
            `the guest's CPU has QEMU's default of ${DEFAULT_PHYS_BITS} address bits, or what memory takes; with -cpu host it has the host's, and firmware places 64-bit BARs by them: say which with --phys-bits`,
          ]
        : []),
      ...(relocated
        ? [
            "an AMD CPU and a machine version from 7.1 on: memory above 4 GiB starts at 1 TiB, because RAM and the 64-bit PCI window would reach into HyperTransport",
          ]
        : []),
    ],
    sources: [
      ...machine.sources,
      "QEMU hw/i386/pc.c: pc_memory_init, pc_max_used_gpa, pc_pci_hole64_start (relocation: 7.1, enforce_amd_1tb_hole)",
      ...FIRMWARE_SOURCES,
    ],
  };
}

/** What lies from `start` on. */
function above({ memory, maxMemory, slots, bars64 }: LayoutRequest, machine: PcMachine, below: bigint, start: bigint) {
  const ramEnd = start + memory - below;
  const pluggable = maxMemory - memory;
  // a whole GiB more for each slot, so that every DIMM can be aligned (pc_get_device_memory_range)
  const device = pluggable === 0n ? 0n : pluggable + BigInt(slots) * GIB;
  const deviceStart = device === 0n ? ramEnd : roundUp(ramEnd, GIB);
  const window = roundUp(deviceStart + device, GIB);
  const needed = powerOfTwoAtLeast(bars64);
  return {
    ranges: [
      ...sized(start === ABOVE_4G ? "RAM above 4 GiB" : "RAM above 1 TiB", "ram", start, memory - below),
      ...sized("memory hotplug", "hotplug", deviceStart, device),
    ],
    window: { start: window, last: window + (needed > machine.hole64 ? needed : machine.hole64) - 1n },
    end: window + machine.hole64,
  };
}
