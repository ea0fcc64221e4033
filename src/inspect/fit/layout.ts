import type { IovaRange } from "../../address/iova-ranges.ts";
import type { Arch } from "../../machine/host-description.ts";

/**
 * ram: what the guest has from the start; hotplug: where memory that is plugged later lands; firmware: ROM that the VMM maps for
 * devices like RAM; bars: where BARs go that a VMM maps so that devices reach each other (it warns and goes on when that fails).
 */
export type RangeKind = "ram" | "hotplug" | "firmware" | "bars";

/** A range of guest physical addresses. Without a vIOMMU, and behind one in passthrough mode, it is mapped at the same IOVA. */
export interface GuestRange extends IovaRange {
  readonly name: string;
  readonly kind: RangeKind;
}

/** Where a VMM puts a guest's memory. */
export interface GuestLayout {
  /** "QEMU pc-q35-7.0". */
  readonly vmm: string;
  /** Ascending, without overlaps. */
  readonly ranges: readonly GuestRange[];
  /** The last guest physical address that the VMM insists on, and which part ends there. */
  readonly highest: bigint;
  readonly highestIs: string;
  /** Address bits that the guest's CPU has when nobody says otherwise; undefined: as many as are needed, or the host CPU's. */
  readonly defaultPhysBits?: number;
  /** How to give the guest more address bits. */
  readonly physBitsCure: string;
  /** Why the VMM does not start with such memory at all. */
  readonly refusal?: string;
  /** What the reader should know about this layout. */
  readonly notes: readonly string[];
  /** Where the rules come from: file, function, version. */
  readonly sources: readonly string[];
}

export const CPU_VENDORS = ["amd", "intel", "arm", "power"] as const;
export type CpuVendor = (typeof CPU_VENDORS)[number];

export interface LayoutRequest {
  /** Bytes that the guest has from the start. */
  readonly memory: bigint;
  /** Bytes up to which memory can be plugged (QEMU's maxmem); `memory` when none can. */
  readonly maxMemory: bigint;
  /** QEMU's memory slots. */
  readonly slots: number;
  /** Machine version; the newest rules when left out. */
  readonly version?: Version;
  /** Of the guest's CPU. */
  readonly cpuVendor: CpuVendor;
  /** Bytes of 64-bit BARs that the guest's devices have together. */
  readonly bars64: bigint;
}

/** A VMM whose layout is known. */
export interface Vmm {
  readonly name: string;
  /** What kind of machine the guest is. */
  readonly arch: Arch;
  /** Whether --vmm-version means something, and since when. */
  readonly oldest?: Version;
  layout(request: LayoutRequest): GuestLayout;
}

/** "7.1" as numbers. */
export interface Version {
  readonly major: number;
  readonly minor: number;
}

export function parseVersion(text: string): Version | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})(?:\.\d{1,4})?$/.exec(text);
  return match ? { major: Number(match[1]), minor: Number(match[2]) } : undefined;
}

/** Whether a version, the newest when undefined, has what came with `since`. */
export function hasSince(version: Version | undefined, since: string): boolean {
  if (!version) return true;
  const { major, minor } = parseVersion(since)!;
  return version.major > major || (version.major === major && version.minor >= minor);
}

export function versionText({ major, minor }: Version): string {
  return `${major}.${minor}`;
}

/** A range by its start and size; none for a size of 0. */
export function sized(name: string, kind: RangeKind, start: bigint, size: bigint): GuestRange[] {
  return size === 0n ? [] : [{ name, kind, start, last: start + size - 1n }];
}
