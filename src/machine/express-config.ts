import { capabilities, findCapability } from "../devices/pci/capabilities.ts";
import * as pci from "../devices/pci/registers.ts";

/**
 * PCI Express put behind the capabilities of a config space, and the extended space with an empty list of errors: what
 * a device shows that is PCI Express and of which nothing more is known (PCI Express Base Specification, 7.5.3;
 * pci_regs.h).
 */
export const ADVANCED_ERRORS = 0x100;

/** Enough for the largest capability that a kind of device has in the first part. */
const ROOM = 0x20;
const PM_SIZE = 8;
const VERSION = 2;
/** Device/port types, bits 7:4 of PCI_EXP_FLAGS. */
const ENDPOINT = 0;
const ROOT_PORT = 4;
const DOWNSTREAM_PORT = 6;
const INTEGRATED_ENDPOINT = 9;
const SLOT_IMPLEMENTED = 0x0100;
const ROLE_BASED_ERRORS = 0x8000;
const LINK_CAPABILITIES = 0x0c;
const LINK_STATUS = 0x12;
const LINK_CAPABILITIES_2 = 0x2c;
const LINK_CONTROL_2 = 0x30;
/** 8 GT/s, 4 lanes. */
const LINK = 3 | (4 << 4);
const LINK_SPEEDS = 0x0e;
const BASE_CLASS = 0x0b;
const DISPLAY = 0x03;
const PM_VERSION = 3;

export interface ExpressPlace {
  readonly bridge: boolean;
  /** No link leads to it. */
  readonly onRootBus: boolean;
}

/** @param plain 256 bytes without the capability */
export function expressConfig(plain: Uint8Array, { bridge, onRootBus }: ExpressPlace): Uint8Array {
  const config = new Uint8Array(pci.PCI_CFG_SPACE_EXP_SIZE);
  config.set(plain);
  const view = new DataView(config.buffer);
  if (findCapability(config, pci.PCI_CAP_ID_PM) === undefined) {
    const power = append(view, pci.PCI_CAP_ID_PM, PM_SIZE);
    view.setUint16(power + pci.PCI_PM_PMC, PM_VERSION, true);
    view.setUint16(power + pci.PCI_PM_CTRL, pci.PCI_PM_CTRL_NO_SOFT_RESET, true);
  }
  const at = append(view, pci.PCI_CAP_ID_EXP, 60);
  const type = bridge ? (onRootBus ? ROOT_PORT : DOWNSTREAM_PORT) : onRootBus ? INTEGRATED_ENDPOINT : ENDPOINT;
  view.setUint16(at + pci.PCI_EXP_FLAGS, VERSION | (type << 4) | (bridge ? SLOT_IMPLEMENTED : 0), true);
  // graphics are reset with their bus
  const resets = !bridge && config[BASE_CLASS] !== DISPLAY ? pci.PCI_EXP_DEVCAP_FLR : 0;
  view.setUint32(at + pci.PCI_EXP_DEVCAP, ROLE_BASED_ERRORS | resets, true);
  if (type !== INTEGRATED_ENDPOINT) {
    view.setUint32(at + LINK_CAPABILITIES, LINK, true);
    view.setUint16(at + LINK_STATUS, LINK, true);
    view.setUint32(at + LINK_CAPABILITIES_2, LINK_SPEEDS, true);
    view.setUint16(at + LINK_CONTROL_2, LINK & 0xf, true);
  }
  view.setUint32(ADVANCED_ERRORS, pci.PCI_EXT_CAP_ID_ERR | (2 << 16), true);
  return config;
}

/** Puts a capability at the end of the list, behind all others. Returns its place. */
function append(view: DataView, id: number, size: number): number {
  const config = new Uint8Array(view.buffer);
  const all = capabilities(config);
  const last = all.at(-1);
  const behind = Math.max(pci.PCI_STD_HEADER_SIZEOF - ROOM, ...all.map(({ offset }) => offset)) + ROOM;
  const at = Math.min(behind, pci.PCI_CFG_SPACE_SIZE - size) & ~3;
  const status = view.getUint16(pci.PCI_STATUS, true);
  view.setUint16(pci.PCI_STATUS, status | pci.PCI_STATUS_CAP_LIST, true);
  view.setUint8(last ? last.offset + pci.PCI_CAP_LIST_NEXT : pci.PCI_CAPABILITY_LIST, at);
  view.setUint16(at, id, true);
  return at;
}
