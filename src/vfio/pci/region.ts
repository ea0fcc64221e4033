import type { PciFunction } from "../../devices/pci/function.ts";
import * as pci from "../../devices/pci/registers.ts";
import { fail } from "../../kernel/errors.ts";
import type { Word } from "../../kernel/word.ts";
import type { PciContext } from "./pci-context.ts";

/** A region begins at its index shifted by this in the device's file (VFIO_PCI_OFFSET_SHIFT). */
const REGION_SHIFT = 40;
const REGION_SIZE = 2 ** REGION_SHIFT;

/** Where in the file a region begins. */
export function regionOffset(index: number): number {
  return index * REGION_SIZE;
}

/**
 * The region and the place in it that an offset into the file means; undefined beyond all regions (and for negative
 * offsets).
 */
export function splitOffset(offset: Word): { readonly index: number; readonly at: number } | undefined {
  if (typeof offset === "bigint") return undefined;
  // % of numbers beyond 32 bits is a slow call
  const index = Math.floor(offset / REGION_SIZE);
  return { index, at: offset - index * REGION_SIZE };
}

/** The MSI-X table of a function: the part of a region that users cannot reach by read and write. */
export interface MsixTable {
  readonly bar: number;
  /** Bytes from the region's start. */
  readonly start: number;
  /** First byte behind it. */
  readonly end: number;
}

export function msixTable(target: PciFunction): MsixTable | undefined {
  const at = target.msix;
  if (at === undefined) return undefined;
  const table = target.readConfig(at + pci.PCI_MSIX_TABLE, 4);
  const count = (target.readConfig(at + pci.PCI_MSIX_FLAGS, 2) & pci.PCI_MSIX_FLAGS_QSIZE) + 1;
  const start = (table & ~pci.PCI_MSIX_TABLE_BIR) >>> 0;
  return { bar: table & pci.PCI_MSIX_TABLE_BIR, start, end: start + count * pci.PCI_MSIX_ENTRY_SIZE };
}

/**
 * Whether a region can be mapped: memory regions, when the host's description lets them be mapped, those smaller than a
 * page only when they have their page to themselves (vfio_pci_probe_mmaps).
 */
export function isMappable(target: PciFunction, index: number, { pageSize, release }: PciContext): boolean {
  const bar = target.bar(index);
  if (target.description.zpci && !release.has("zpciMmap")) return false;
  if (bar === undefined || index === pci.ROM_BAR || bar.type === "io" || !target.description.mmap) return false;
  if (target.model.isMappable?.(index) === false) return false;
  // what can be mapped in parts only is said by a capability
  const isInParts = target.model.mappableAreas?.(index) !== undefined;
  if (isInParts && !release.has("sparseMmapCapability") && !release.has("msixTableMappable")) return false;
  if (bar.size >= pageSize) return true;
  if (!release.has("smallBarsMappable")) return false;
  return target.readConfig(pci.PCI_BASE_ADDRESS_0 + index * 4, 4) % pageSize < 16;
}

/**
 * A BAR whose addresses another has reserved can be looked at in config space and GET_REGION_INFO only: EBUSY
 * (vfio_pci_rdwr.c:vfio_pci_core_setup_barmap, pci_request_selected_regions).
 */
export function refuseClaimed(target: PciFunction, index: number): void {
  const claimedBy = target.bar(index)?.claimedBy;
  if (claimedBy === undefined) return;
  fail(
    "EBUSY",
    `BAR ${index} of ${target.name} belongs to ${claimedBy} (/proc/iomem shows who has it): unload it, or keep it off with video=efifb:off, initcall_blacklist=sysfb_init or the like`,
  );
}
