import type { TranslationAbilities } from "../description.ts";
import * as pci from "./registers.ts";

/** A capability as it lies in config space, before it has its place in the list. */
export interface Capability {
  /** Capability id (PCI_CAP_ID_*). */
  readonly id: number;
  /** Bytes, with the header. */
  readonly size: number;
  /** Where it lies; left out: behind the one before. A multiple of 4. */
  readonly at?: number;
  /** What is not zero behind the header, by offset from its start. */
  readonly words: readonly (readonly [offset: number, value: number])[];
}

/** A capability of PCI Express's extended config space: its header has a version, and it lies from 0x100 on. */
export interface ExtendedCapability extends Capability {
  /** Version of an extended capability. */
  readonly version: number;
}

/** Somewhere in a BAR. */
export interface BarPlace {
  /** 0..5. */
  readonly bar: number;
  /** Bytes, a multiple of 8. */
  readonly offset: number;
}

/** The same capability at a place of its own. */
export function placedAt<T extends Capability>(at: number, capability: T): T {
  return { ...capability, at };
}

/** Power management. `resetsInD3`: going from D3hot to D0 resets the function (No_Soft_Reset is clear). */
export function powerManagement({ version, resetsInD3 }: { version: 2 | 3; resetsInD3: boolean }): Capability {
  const words = [[pci.PCI_PM_PMC, version] as const];
  const control = [pci.PCI_PM_CTRL, resetsInD3 ? 0 : pci.PCI_PM_CTRL_NO_SOFT_RESET] as const;
  return { id: pci.PCI_CAP_ID_PM, size: 8, words: [...words, control] };
}

/**
 * MSI with 64-bit addresses. `vectors`: a power of two up to 32. `maskable`: each vector can be masked and shows
 * whether it is pending.
 */
export function msi({ vectors, maskable = false }: { vectors: number; maskable?: boolean }): Capability {
  const log = Math.log2(vectors);
  if (!Number.isInteger(log) || log < 0 || log > 5) throw new RangeError(`MSI with ${vectors} vectors: 1, 2, 4 ... 32`);
  const flags = pci.PCI_MSI_FLAGS_64BIT | (log << 1) | (maskable ? pci.PCI_MSI_FLAGS_MASKBIT : 0);
  return { id: pci.PCI_CAP_ID_MSI, size: maskable ? 24 : 14, words: [[pci.PCI_MSI_FLAGS, flags]] };
}

/**
 * MSI-X. `vectors`: 1 to 2048. `table`: 16 bytes for each vector; the model has nothing to do with them. `pending`: a
 * bit for each.
 */
export function msix({ vectors, table, pending }: { vectors: number; table: BarPlace; pending: BarPlace }): Capability {
  if (!Number.isInteger(vectors) || vectors < 1 || vectors > 2048)
    throw new RangeError(`MSI-X with ${vectors} vectors: 1 to 2048`);
  return {
    id: pci.PCI_CAP_ID_MSIX,
    size: 12,
    words: [
      [pci.PCI_MSIX_FLAGS, vectors - 1],
      ...double(pci.PCI_MSIX_TABLE, inBar(table)),
      ...double(8, inBar(pending)),
    ],
  };
}

/**
 * PCI Express, version 2. `port`: an endpoint behind a port, or one that is integrated into the root complex.
 * `functionLevelReset`: it can be reset on its own.
 */
export function pciExpress(facts: { port: "endpoint" | "integrated"; functionLevelReset: boolean }): Capability {
  const type = facts.port === "integrated" ? pci.PCI_EXP_TYPE_RC_END : pci.PCI_EXP_TYPE_ENDPOINT;
  return {
    id: pci.PCI_CAP_ID_EXP,
    size: 60,
    words: [
      [pci.PCI_EXP_FLAGS, 2 | (type << 4)],
      ...double(pci.PCI_EXP_DEVCAP, facts.functionLevelReset ? pci.PCI_EXP_DEVCAP_FLR : 0),
    ],
  };
}

/** A function-level reset of conventional PCI ("Advanced Features"). */
export const ADVANCED_FEATURES: Capability = {
  id: pci.PCI_CAP_ID_AF,
  size: 6,
  words: [[2, 6 | ((pci.PCI_AF_CAP_TP | pci.PCI_AF_CAP_FLR) << 8)]],
};

/** Advanced error reporting; nothing has happened. */
export const ADVANCED_ERRORS: ExtendedCapability = { id: pci.PCI_EXT_CAP_ID_ERR, version: 1, size: 0x2c, words: [] };

/** Device serial number, 64 bits. */
export function serialNumber(serial: bigint): ExtendedCapability {
  const half = (shift: bigint) => Number((serial >> shift) & 0xffff_ffffn);
  return { id: pci.PCI_EXT_CAP_ID_DSN, version: 1, size: 12, words: [...double(4, half(0n)), ...double(8, half(32n))] };
}

/** Queue depth 0 (that is 32), page-aligned requests; enabled. */
const ATS: ExtendedCapability = {
  id: pci.PCI_EXT_CAP_ID_ATS,
  version: 1,
  size: 8,
  words: [
    [4, 1 << 5],
    [6, 1 << 15],
  ],
};
/** Enabled, stopped; 32 requests may be outstanding, and are. The response needs its PASID. */
const PRI: ExtendedCapability = {
  id: pci.PCI_EXT_CAP_ID_PRI,
  version: 1,
  size: 16,
  words: [
    [4, 1],
    [6, (1 << 15) | (1 << 8)],
    [8, 32],
    [12, 32],
  ],
};
/** Privileged requests, 20 bits; enabled with both. */
const PASID: ExtendedCapability = {
  id: pci.PCI_EXT_CAP_ID_PASID,
  version: 1,
  size: 8,
  words: [
    [4, (20 << 8) | (1 << 2)],
    [6, (1 << 2) | 1],
  ],
};

/**
 * What a device shows that has to do with its IOMMU (PCI Express Base Specification, "Address Translation Services";
 * pci_regs.h). It is enabled, as the host's IOMMU driver leaves it (intel/iommu.c:intel_iommu_probe_finalize).
 */
export function translationCapabilities({ pasid, ats, pri }: TranslationAbilities): readonly ExtendedCapability[] {
  return [...(ats ? [ATS] : []), ...(pri ? [PRI] : []), ...(pasid ? [PASID] : [])];
}

/** 32 bits as two words. */
function double(offset: number, value: number): readonly (readonly [number, number])[] {
  return [
    [offset, value & 0xffff],
    [offset + 2, value >>> 16],
  ];
}

function inBar({ bar, offset }: BarPlace): number {
  return offset | bar;
}
