import { capabilities, extendedCapabilities } from "../../devices/pci/capabilities.ts";
import type { ConfigSpace } from "../../devices/pci/config-space.ts";
import * as pci from "../../devices/pci/registers.ts";
import type { Release } from "../../kernel/releases.ts";
import { roundUp, viewOf } from "../../uapi/layout.ts";
import {
  type ConfigPermissions,
  capabilityPermissions,
  DIRECT,
  extendedPermissions,
  HEADER,
  msiPermissions,
} from "./config-permissions.ts";

/** A part of config space that is served by one set of rules. */
export interface ConfigPart {
  readonly start: number;
  /** Capability id; 0 for the header. */
  readonly id: number;
  readonly extended: boolean;
  readonly permissions: ConfigPermissions;
}

/** What lies where in config space, and the first state of the virtual copy. */
export interface ConfigMap {
  /** By byte; undefined where nothing is known: those bytes go to the device as they are. */
  readonly parts: readonly (ConfigPart | undefined)[];
  readonly virtual: Uint8Array;
}

/** A capability that the kernel does not show to users. */
const HIDDEN = 0;

/**
 * Lays out config space for a user as the kernel does when a device is first opened
 * (vfio_pci_config.c:vfio_config_init, vfio_cap_init, vfio_ecap_init): the header and each capability that the kernel
 * knows have rules, the others are left out of their list.
 */
export function mapConfig({ bytes }: ConfigSpace, release: Release): ConfigMap {
  const parts = new Array<ConfigPart | undefined>(bytes.length).fill(undefined);
  const virtual = new Uint8Array(bytes.length);
  const place = (part: ConfigPart, length: number) => {
    const end = Math.min(part.start + length, bytes.length);
    parts.fill(part, part.start, end);
    virtual.set(bytes.subarray(part.start, end), part.start);
  };
  place({ start: 0, id: 0, extended: false, permissions: HEADER }, pci.PCI_STD_HEADER_SIZEOF);
  placeCapabilities(bytes, virtual, release, place);
  placeExtended(bytes, virtual, place);
  return { parts, virtual };
}

type Place = (part: ConfigPart, length: number) => void;

function placeCapabilities(bytes: Uint8Array, virtual: Uint8Array, release: Release, place: Place): void {
  let pointer = pci.PCI_CAPABILITY_LIST;
  let count = 0;
  for (const { id, offset, next } of capabilities(bytes)) {
    const length = capabilityLength(bytes, id, offset);
    if (length === HIDDEN) {
      virtual[pointer] = next;
      continue;
    }
    const flags = viewOf(bytes).getUint16(offset + 2, true);
    const permissions = id === pci.PCI_CAP_ID_MSI ? msiPermissions(flags) : capabilityPermissions(id, release);
    place({ start: offset, id, extended: false, permissions }, length);
    if (id === pci.PCI_CAP_ID_PM) hidePme(virtual, offset);
    pointer = offset + pci.PCI_CAP_LIST_NEXT;
    count++;
  }
  if (count === 0) virtual[pci.PCI_STATUS]! &= ~pci.PCI_STATUS_CAP_LIST;
}

/** Guests get no power management events (vfio_update_pm_vconfig_bytes). */
function hidePme(virtual: Uint8Array, offset: number): void {
  const view = viewOf(virtual);
  const clear = (at: number, bits: number) => view.setUint16(at, view.getUint16(at, true) & ~bits, true);
  clear(offset + pci.PCI_PM_PMC, pci.PCI_PM_CAP_PME_MASK);
  clear(offset + pci.PCI_PM_CTRL, pci.PCI_PM_CTRL_PME_ENABLE | pci.PCI_PM_CTRL_PME_STATUS);
}

/** Extended capabilities are reached through a PCI Express capability only; conventional PCI has none here. */
function placeExtended(bytes: Uint8Array, virtual: Uint8Array, place: Place): void {
  const hasExpress = capabilities(bytes).some(({ id }) => id === pci.PCI_CAP_ID_EXP || id === pci.PCI_CAP_ID_PCIX);
  const all = hasExpress ? extendedCapabilities(bytes) : [];
  const view = viewOf(virtual);
  let previous: number | undefined;
  let count = 0;
  for (const { id, offset, next } of all) {
    const length = extendedLength(bytes, id, offset);
    if (length === HIDDEN && previous !== undefined) {
      view.setUint32(previous, ((view.getUint32(previous, true) & 0x000f_ffff) | (next << 20)) >>> 0, true);
      continue;
    }
    // the first one anchors the list: hidden, it keeps its place and its pointer but not its id
    const permissions = length === HIDDEN ? DIRECT : extendedPermissions(id);
    place({ start: offset, id, extended: true, permissions }, length === HIDDEN ? 4 : length);
    if (length === HIDDEN) view.setUint32(offset, (view.getUint32(offset, true) & 0xffc0_0000) >>> 0, true);
    else count++;
    previous = offset;
  }
  if (count === 0 && all.length > 0) view.setUint32(pci.PCI_CFG_SPACE_SIZE, 0, true);
}

/**
 * Bytes of a conventional capability; HIDDEN for those that the kernel keeps from users (pci_cap_length, vfio_cap_len).
 */
function capabilityLength(bytes: Uint8Array, id: number, at: number): number {
  const byte = (offset: number) => bytes[at + offset]!;
  switch (id) {
    case pci.PCI_CAP_ID_PM:
    case pci.PCI_CAP_ID_VPD:
      return 8;
    case pci.PCI_CAP_ID_AGP:
    case pci.PCI_CAP_ID_MSIX:
      return 12;
    case pci.PCI_CAP_ID_AF:
      return 6;
    case pci.PCI_CAP_ID_MSI: {
      const flags = byte(2) | (byte(3) << 8);
      return 10 + (flags & pci.PCI_MSI_FLAGS_64BIT ? 4 : 0) + (flags & pci.PCI_MSI_FLAGS_MASKBIT ? 10 : 0);
    }
    case pci.PCI_CAP_ID_PCIX:
      return byte(3) & 0x30 ? 24 : 8;
    case pci.PCI_CAP_ID_VNDR:
      return byte(2);
    case pci.PCI_CAP_ID_EXP: {
      const version = byte(pci.PCI_EXP_FLAGS) & 0xf;
      const inRootComplex = byte(pci.PCI_EXP_FLAGS) >> 4 === pci.PCI_EXP_TYPE_RC_END;
      if (version === 1) return inRootComplex ? 12 : 20;
      return inRootComplex ? 44 : 60;
    }
    case pci.PCI_CAP_ID_HT:
      return byte(3) & 0xe0 ? 24 : 28;
    case pci.PCI_CAP_ID_SATA:
      return (byte(4) & 0xf) === 0xf ? 16 : 8;
    default:
      return HIDDEN;
  }
}

/** The same for an extended capability (pci_ext_cap_length, vfio_ext_cap_len). */
function extendedLength(bytes: Uint8Array, id: number, at: number): number {
  const view = viewOf(bytes);
  switch (id) {
    case pci.PCI_EXT_CAP_ID_ERR:
      return 0x2c;
    case pci.PCI_EXT_CAP_ID_DSN:
      return 12;
    case pci.PCI_EXT_CAP_ID_PWR:
    case pci.PCI_EXT_CAP_ID_PRI:
      return 16;
    case pci.PCI_EXT_CAP_ID_ARI:
    case pci.PCI_EXT_CAP_ID_ATS:
    case pci.PCI_EXT_CAP_ID_LTR:
      return 8;
    case pci.PCI_EXT_CAP_ID_SRIOV:
      return 64;
    case pci.PCI_EXT_CAP_ID_MCAST:
      return 40;
    case pci.PCI_EXT_CAP_ID_VC:
    case pci.PCI_EXT_CAP_ID_VC9:
    case pci.PCI_EXT_CAP_ID_MFVC:
      return virtualChannelLength(view, at);
    case pci.PCI_EXT_CAP_ID_VNDR:
    case pci.PCI_EXT_CAP_ID_DVSEC:
      return view.getUint32(at + 4, true) >>> 20;
    case pci.PCI_EXT_CAP_ID_ACS: {
      if (!(bytes[at + 4]! & 0x20)) return 8;
      const bits = bytes[at + 5]!;
      return 8 + (bits === 0 ? 256 : roundUp(bits, 32)) / 8;
    }
    case pci.PCI_EXT_CAP_ID_REBAR:
      return 4 + ((bytes[at + 8]! & 0xe0) >> 5) * 8;
    case pci.PCI_EXT_CAP_ID_DPA:
      return 16 + (bytes[at + 4]! & 0x1f) + 1;
    case pci.PCI_EXT_CAP_ID_TPH: {
      const header = view.getUint32(at + 4, true);
      return (header & 0x600) === 0x200 ? 12 + ((header >>> 16) & 0x7ff) * 2 + 2 : 12;
    }
    default:
      return HIDDEN;
  }
}

function virtualChannelLength(view: DataView, at: number): number {
  const channels = view.getUint32(at + 4, true) & 7;
  const arbitration = view.getUint32(at + 8, true);
  const phases = arbitration & 8 ? 128 : arbitration & 4 ? 64 : arbitration & 2 ? 32 : 0;
  const length = 16 + (1 + channels) * 12;
  return phases === 0 ? length : roundUp(length, 16) + (phases * 4) / 8;
}
