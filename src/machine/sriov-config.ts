import type { PlacedBar } from "../devices/description.ts";
import { extendedCapabilities } from "../devices/pci/capabilities.ts";
import type { PhysicalFunction } from "./virtual-functions.ts";

/**
 * Extended capabilities of a physical function (Single Root I/O Virtualization specification, 3.3; pci_regs.h:
 * PCI_SRIOV_*).
 */
const ARI = 0x150;
const SRIOV = 0x160;
const NEXT = 20;
const ARI_HIERARCHY_PRESERVED = 2;
const VF_ENABLE = 1;
const VF_MEMORY = 8;
const ARI_CAPABLE = 0x10;
/** 4, 8, 64, 256 KiB, 1 and 4 MiB. */
const PAGE_SIZES = 0x553;
const FIRST_BAR = 0x24;
const MEMORY_64 = 4;
const PREFETCHABLE = 8;

/**
 * Puts alternative routing ids and SR-IOV behind the errors of an express function.
 * @param bars of its first virtual function
 */
export function addSriov(config: Uint8Array, physical: PhysicalFunction, bars: readonly PlacedBar[]): void {
  const { functions, total, offset, stride, vfDevice } = physical;
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  const last = extendedCapabilities(config).at(-1);
  if (last) link(view, last.offset, ARI);
  view.setUint32(ARI, (0x0e | (1 << 16) | (SRIOV << NEXT)) >>> 0, true);
  view.setUint32(SRIOV, 0x10 | (1 << 16), true);
  view.setUint32(SRIOV + 4, ARI_HIERARCHY_PRESERVED, true);
  const enabled = functions.length > 0;
  view.setUint16(SRIOV + 8, ARI_CAPABLE | (enabled ? VF_ENABLE | VF_MEMORY : 0), true);
  view.setUint16(SRIOV + 0x0c, total, true);
  view.setUint16(SRIOV + 0x0e, total, true);
  view.setUint16(SRIOV + 0x10, functions.length, true);
  view.setUint16(SRIOV + 0x14, offset, true);
  view.setUint16(SRIOV + 0x16, stride, true);
  view.setUint16(SRIOV + 0x1a, vfDevice, true);
  view.setUint32(SRIOV + 0x1c, PAGE_SIZES, true);
  view.setUint32(SRIOV + 0x20, 1, true);
  for (const { index, type, address } of bars) {
    if (type === "rom" || type === "io") continue;
    const wide = type === "memory64";
    const low = Number(address & 0xffff_fff0n) | (wide ? MEMORY_64 | PREFETCHABLE : 0);
    view.setUint32(SRIOV + FIRST_BAR + index * 4, low >>> 0, true);
    if (wide) view.setUint32(SRIOV + FIRST_BAR + (index + 1) * 4, Number(address >> 32n), true);
  }
}

function link(view: DataView, at: number, next: number): void {
  view.setUint32(at, ((view.getUint32(at, true) & 0x000f_ffff) | (next << NEXT)) >>> 0, true);
}
