import type { IovaRange } from "../../address/iova-ranges.ts";
import type { Arch } from "../../kernel/arch.ts";
import { MIB, powerOfTwoAtLeast } from "./sizes.ts";

/**
 * ram: what the guest has from the start; hotplug: where memory that is plugged later lands; firmware: ROM that the VMM
 * maps for devices like RAM; bars: where BARs go that a VMM maps so that devices reach each other.
 */
export type RangeKind = "ram" | "hotplug" | "firmware" | "bars";

/**
 * Who places the guest's BARs: SeaBIOS, edk2's OVMF, or the guest's kernel itself (QEMU's -kernel without firmware's
 * window).
 */
export const FIRMWARES = ["seabios", "ovmf", "direct"] as const;
export type Firmware = (typeof FIRMWARES)[number];

/**
 * A range of guest physical addresses. Without a vIOMMU, and behind one in passthrough mode, it is mapped at the same
 * IOVA.
 */
export interface GuestRange extends IovaRange {
  readonly name: string;
  readonly kind: RangeKind;
  /**
   * Of a window for BARs: bytes from its start on that they take; all of it when left out. What lies behind may collide
   * unseen.
   */
  readonly used?: bigint;
  /** Of BARs: the VMM ends when it cannot map one. Others warn and go on. */
  readonly isFatal?: boolean;
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
  /**
   * Address bits that the guest's CPU has when nobody says otherwise; undefined: as many as are needed, or the host
   * CPU's.
   */
  readonly defaultPhysBits?: number;
  /** That default is an upper bound: a host CPU with fewer address bits gives fewer. */
  readonly physBitsAtMost?: boolean;
  /** How to give the guest N address bits. */
  readonly physBitsCure: string;
  /** How to keep BARs below 2^N; absent where that cannot be said. */
  readonly barsCure?: string;
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
  /** Address bits of the guest's CPU; the VMM's default when left out. */
  readonly physBits?: number;
  /** Who places BARs; each that may when left out. */
  readonly firmware?: Firmware;
}

/** A VMM whose layout is known. */
export interface Vmm {
  readonly name: string;
  /** What kind of machine the guest is. */
  readonly arch: Arch;
  /** Whether --vmm-version means something, and since when. */
  readonly oldest?: Version;
  /** The guest's firmware places BARs, so that --firmware means something. */
  readonly hasFirmware?: true;
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

/** A window for BARs of which `bars64` bytes of BARs use the beginning. */
export function windowOf(window: GuestRange, bars64: bigint): GuestRange {
  return { ...window, used: powerOfTwoAtLeast(bars64 === 0n ? MIB : bars64) };
}

/** A range by its start and size; none for a size of 0. */
export function sized(name: string, kind: RangeKind, start: bigint, size: bigint): GuestRange[] {
  return size === 0n ? [] : [{ name, kind, start, last: start + size - 1n }];
}
