import { viewOf } from "../../uapi/layout.ts";
import { capabilities, extendedCapabilities } from "./capabilities.ts";
import * as pci from "./registers.ts";

/** Which bits of config space software can change. */
export interface WriteMasks {
  /** Bits that take what is written. */
  readonly write: Uint8Array;
  /** Bits that are cleared by writing 1. */
  readonly clear: Uint8Array;
}

const PM_SIZE = 8;
const MSIX_SIZE = 12;
const AER_SIZE = 0x2c;
const DSN_SIZE = 12;
const EXP_SIZE = 60;
const HEADER_ONLY = 4;

/**
 * The masks of a function with this config space: what QEMU's devices have (hw/pci/pci.c: pci_init_wmask and the
 * capabilities' own files), which is what the recordings show. Bytes that belong to no capability are plain memory
 * there.
 */
export function writeMasks(config: Uint8Array): WriteMasks {
  const masks = { write: new Uint8Array(config.length), clear: new Uint8Array(config.length) };
  const write = viewOf(masks.write);
  masks.write.fill(0xff, pci.PCI_STD_HEADER_SIZEOF);
  write.setUint16(
    pci.PCI_COMMAND,
    pci.PCI_COMMAND_IO |
      pci.PCI_COMMAND_MEMORY |
      pci.PCI_COMMAND_MASTER |
      pci.PCI_COMMAND_SERR |
      pci.PCI_COMMAND_INTX_DISABLE,
    true,
  );
  masks.write[pci.PCI_CACHE_LINE_SIZE] = 0xff;
  masks.write[pci.PCI_INTERRUPT_LINE] = 0xff;
  masks.write.fill(0xff, pci.PCI_BASE_ADDRESS_0, pci.PCI_BASE_ADDRESS_5 + 4);
  for (const { id, offset } of capabilities(config)) capabilityMask(masks, config, id, offset);
  for (const { id, offset } of extendedCapabilities(config)) extendedMask(masks, id, offset);
  return masks;
}

function capabilityMask({ write, clear }: WriteMasks, config: Uint8Array, id: number, at: number): void {
  // a capability can begin where the shown part of config space ends: its last registers are not there then
  const set16 = (mask: Uint8Array, offset: number, bits: number) => {
    if (at + offset + 2 <= mask.length) viewOf(mask).setUint16(at + offset, bits, true);
  };
  const set32 = (offset: number, bits: number) => {
    if (at + offset + 4 <= write.length) viewOf(write).setUint32(at + offset, bits, true);
  };
  const readOnly = (size: number) => write.fill(0, at, Math.min(at + size, pci.PCI_CFG_SPACE_SIZE));
  switch (id) {
    case pci.PCI_CAP_ID_PM:
      readOnly(PM_SIZE);
      set16(write, pci.PCI_PM_CTRL, pci.PCI_PM_CTRL_STATE_MASK | pci.PCI_PM_CTRL_PME_ENABLE);
      set16(clear, pci.PCI_PM_CTRL, pci.PCI_PM_CTRL_PME_STATUS);
      return;
    case pci.PCI_CAP_ID_MSI: {
      const flags = config[at + pci.PCI_MSI_FLAGS] ?? 0;
      const wide = (flags & pci.PCI_MSI_FLAGS_64BIT) !== 0;
      const maskable = (flags & pci.PCI_MSI_FLAGS_MASKBIT) !== 0;
      const data = wide ? 12 : 8;
      readOnly(maskable ? data + 12 : data + 2);
      set16(write, pci.PCI_MSI_FLAGS, pci.PCI_MSI_FLAGS_ENABLE | pci.PCI_MSI_FLAGS_QSIZE);
      set32(pci.PCI_MSI_ADDRESS_LO, 0xffff_fffc);
      if (wide) set32(pci.PCI_MSI_ADDRESS_LO + 4, 0xffff_ffff);
      set16(write, data, 0xffff);
      if (maskable) set32(data + 4, 0xffff_ffff);
      return;
    }
    case pci.PCI_CAP_ID_MSIX:
      readOnly(MSIX_SIZE);
      set16(write, pci.PCI_MSIX_FLAGS, pci.PCI_MSIX_FLAGS_ENABLE | pci.PCI_MSIX_FLAGS_MASKALL);
      return;
    case pci.PCI_CAP_ID_EXP:
      readOnly(EXP_SIZE);
      set16(write, pci.PCI_EXP_DEVCTL, 0x7fff & ~pci.PCI_EXP_DEVCTL_PHANTOM);
      set16(clear, pci.PCI_EXP_DEVSTA, 0xf);
      set16(write, pci.PCI_EXP_DEVCTL2, 0xffff & ~pci.PCI_EXP_DEVCTL2_ARI);
      return;
    case pci.PCI_CAP_ID_VNDR:
      // the driver's own registers: only the header stays
      readOnly(3);
      return;
    default:
      readOnly(HEADER_ONLY);
  }
}

function extendedMask({ write, clear }: WriteMasks, id: number, at: number): void {
  // as above: config space can end inside the capability
  const set32 = (mask: Uint8Array, offset: number, bits: number) => {
    if (at + offset + 4 <= mask.length) viewOf(mask).setUint32(at + offset, bits, true);
  };
  const size = id === pci.PCI_EXT_CAP_ID_ERR ? AER_SIZE : id === pci.PCI_EXT_CAP_ID_DSN ? DSN_SIZE : HEADER_ONLY;
  write.fill(0, at, Math.min(at + size, write.length));
  if (id !== pci.PCI_EXT_CAP_ID_ERR) return;
  set32(clear, pci.PCI_ERR_UNCOR_STATUS, 0xffff_ffff);
  set32(write, pci.PCI_ERR_UNCOR_MASK, 0x0462_3010 | 0x003f_f030);
  set32(write, pci.PCI_ERR_UNCOR_SEVER, 0x0462_3010 | 0x003f_f030);
  set32(clear, pci.PCI_ERR_COR_STATUS, 0xffff_ffff);
  set32(write, pci.PCI_ERR_COR_MASK, 0x0000_f1c1);
  set32(write, pci.PCI_ERR_CAP, pci.PCI_ERR_CAP_ECRC_ENABLES);
}
