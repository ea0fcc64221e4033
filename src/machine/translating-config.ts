import type { TranslationAbilities } from "./host-description.ts";

/**
 * The capabilities of a device that has to do with its IOMMU, laid over a plain header: PCI Express with function-level reset, and behind it
 * ATS, PRI and PASID as far as the device has them (PCI Express Base Specification, "Address Translation Services"; pci_regs.h). They are
 * enabled, as the host's IOMMU driver leaves them (intel/iommu.c:intel_iommu_probe_finalize).
 */

/** Bytes of a config space with its extended part. */
const EXPRESS_SIZE = 4096;
/** The header's MSI capability, whose link goes on here. */
const MSI_NEXT = 0x41;
const EXPRESS = 0x60;
/** PCI_EXP_FLAGS: version 2, root complex integrated endpoint. */
const EXPRESS_FLAGS = 0x0092;
/** PCI_EXP_DEVCAP_FLR */
const DEVICE_CAPABILITIES = 1 << 28;
const FIRST_EXTENDED = 0x100;

/** An extended capability: its id, bytes, and 16-bit words by offset. */
interface Extended {
  readonly id: number;
  readonly size: number;
  readonly words: readonly (readonly [offset: number, value: number])[];
}

/** Queue depth 0 (that is 32), page-aligned requests; enabled. */
const ATS: Extended = {
  id: 0x0f,
  size: 8,
  words: [
    [4, 1 << 5],
    [6, 1 << 15],
  ],
};
/** Enabled, stopped; 32 requests may be outstanding, and are. The response needs its PASID. */
const PRI: Extended = {
  id: 0x13,
  size: 16,
  words: [
    [4, 1],
    [6, (1 << 15) | (1 << 8)],
    [8, 32],
    [12, 32],
  ],
};
/** Privileged requests, 20 bits; enabled with both. */
const PASID: Extended = {
  id: 0x1b,
  size: 8,
  words: [
    [4, (20 << 8) | (1 << 2)],
    [6, (1 << 2) | 1],
  ],
};

/** @param header the 256 bytes of a header with its BARs placed, and one MSI capability */
export function translatingConfig(header: Uint8Array, { pasid, ats, pri }: TranslationAbilities): Uint8Array {
  const config = new Uint8Array(EXPRESS_SIZE);
  config.set(header);
  const view = new DataView(config.buffer);
  config[MSI_NEXT] = EXPRESS;
  view.setUint16(EXPRESS, 0x10, true);
  view.setUint16(EXPRESS + 2, EXPRESS_FLAGS, true);
  view.setUint32(EXPRESS + 4, DEVICE_CAPABILITIES, true);
  const all = [...(ats ? [ATS] : []), ...(pri ? [PRI] : []), ...(pasid ? [PASID] : [])];
  let at = FIRST_EXTENDED;
  for (const [index, { id, size, words }] of all.entries()) {
    const next = index < all.length - 1 ? at + size : 0;
    view.setUint32(at, (id | (1 << 16) | (next << 20)) >>> 0, true);
    for (const [offset, value] of words) view.setUint16(at + offset, value, true);
    at += size;
  }
  return config;
}
