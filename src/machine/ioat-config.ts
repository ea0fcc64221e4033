/**
 * The capabilities of Intel's DMA engine of Skylake servers (8086:2021), laid over a plain header: power management, MSI-X with one
 * vector whose table lies in BAR 0, PCI Express with function-level reset, and the extended space that its driver looks into (error
 * registers at 0x148 and 0x180, drivers/dma/ioat/registers.h, which are plain here).
 */

/** Bytes of a config space with its extended part. */
const EXPRESS_SIZE = 4096;
const PM = 0x40;
const MSIX = 0x50;
const EXPRESS = 0x70;
const ADVANCED_ERRORS = 0x100;

/** Offsets in BAR 0, the low bits being its number. */
const MSIX_TABLE = 0x2000;
const MSIX_PENDING = 0x3000;

/** PCI_EXP_FLAGS: version 2, root complex integrated endpoint. */
const EXPRESS_FLAGS = 0x0092;
/** PCI_EXP_DEVCAP_FLR */
const DEVICE_CAPABILITIES = 1 << 28;
const AER_ID_AND_VERSION = 0x0001 | (1 << 16);

/** @param header the 256 bytes of a header with its BARs placed */
export function ioatConfig(header: Uint8Array): Uint8Array {
  const config = new Uint8Array(EXPRESS_SIZE);
  config.set(header);
  const view = new DataView(config.buffer);
  const capability = (at: number, id: number, next: number) => view.setUint16(at, id | (next << 8), true);
  config.fill(0, PM, header.length);
  config[0x34] = PM;
  capability(PM, 0x01, MSIX);
  view.setUint16(PM + 2, 0x0003, true);
  // no soft reset on D3hot to D0: function-level reset is there for that
  view.setUint16(PM + 4, 0x0008, true);
  capability(MSIX, 0x11, EXPRESS);
  view.setUint32(MSIX + 4, MSIX_TABLE, true);
  view.setUint32(MSIX + 8, MSIX_PENDING, true);
  capability(EXPRESS, 0x10, 0);
  view.setUint16(EXPRESS + 2, EXPRESS_FLAGS, true);
  view.setUint32(EXPRESS + 4, DEVICE_CAPABILITIES, true);
  view.setUint32(ADVANCED_ERRORS, AER_ID_AND_VERSION, true);
  return config;
}
