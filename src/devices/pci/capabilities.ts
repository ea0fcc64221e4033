import { viewOf } from "../../uapi/layout.ts";
import {
  PCI_CAPABILITY_LIST,
  PCI_CFG_SPACE_SIZE,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STD_HEADER_SIZEOF,
} from "./registers.ts";

/** A capability in config space. */
export interface CapabilityPlace {
  readonly id: number;
  /** Bytes from the start of config space. */
  readonly offset: number;
  /** Where the list goes on; 0 at its end. */
  readonly next: number;
}

/** The conventional capabilities in the order of their list. A list that loops ends where it would come back. */
export function capabilities(config: Uint8Array): CapabilityPlace[] {
  if (!(config[PCI_STATUS]! & PCI_STATUS_CAP_LIST)) return [];
  const found: CapabilityPlace[] = [];
  const seen = new Set<number>();
  for (let offset = config[PCI_CAPABILITY_LIST]!; offset >= PCI_STD_HEADER_SIZEOF && !seen.has(offset); ) {
    seen.add(offset);
    const next = config[offset + 1] ?? 0;
    found.push({ id: config[offset]!, offset, next });
    offset = next;
  }
  return found;
}

/**
 * The extended capabilities; none where config space ends at 256 bytes or the first header is empty. The list ends
 * where config space does.
 */
export function extendedCapabilities(config: Uint8Array): CapabilityPlace[] {
  const found: CapabilityPlace[] = [];
  if (config.length <= PCI_CFG_SPACE_SIZE) return found;
  const view = viewOf(config);
  if (view.getUint32(PCI_CFG_SPACE_SIZE, true) === 0) return found;
  const seen = new Set<number>();
  const last = config.length - 4;
  for (let offset = PCI_CFG_SPACE_SIZE; offset >= PCI_CFG_SPACE_SIZE && offset <= last && !seen.has(offset); ) {
    seen.add(offset);
    const header = view.getUint32(offset, true);
    const next = (header >>> 20) & 0xffc;
    found.push({ id: header & 0xffff, offset, next });
    offset = next;
  }
  return found;
}

/** Where a conventional capability lies; undefined when the function has not got it. */
export function findCapability(config: Uint8Array, id: number): number | undefined {
  return capabilities(config).find((capability) => capability.id === id)?.offset;
}

/** The same in the extended space. */
export function findExtended(config: Uint8Array, id: number): number | undefined {
  return extendedCapabilities(config).find((capability) => capability.id === id)?.offset;
}
