import { viewOf } from "../../uapi/layout.ts";
import { isBridge, type PciBar, type PciIdentity, type PlacedBar } from "../description.ts";
import { type Capability, type ExtendedCapability, msi } from "./capability-kit.ts";
import * as pci from "./registers.ts";

/** What a function's config space has beside its header. */
export interface ConfigLayout {
  /** Whether it has an INTx line (pin A). */
  readonly interruptPin: boolean;
  /** In the order of their list. */
  readonly capabilities: readonly Capability[];
  /** With some of these it is PCI Express's config space of 4096 bytes, else one of 256. */
  readonly extended?: readonly ExtendedCapability[];
}

/** A line and one message, as QEMU's edu has them. */
export const PLAIN_CONFIG: ConfigLayout = { interruptPin: true, capabilities: [msi({ vectors: 1 })] };

/** What firmware writes into the interrupt line register: 11 is usual where nothing is routed. */
const INTERRUPT_LINE = 11;
const BAR_FLAGS: Readonly<Record<PciBar["type"], number>> = {
  memory: 0,
  memory64: pci.PCI_BASE_ADDRESS_MEM_TYPE_64,
  io: pci.PCI_BASE_ADDRESS_SPACE_IO,
  rom: 0,
};

/** Config space as firmware leaves it. A bridge has its header only, with nothing placed. */
export function composeConfig(identity: PciIdentity, bars: readonly PlacedBar[], layout: ConfigLayout): Uint8Array {
  const { extended = [] } = layout;
  const isPlain = isBridge(identity) || extended.length === 0;
  const config = new Uint8Array(isPlain ? pci.PCI_CFG_SPACE_SIZE : pci.PCI_CFG_SPACE_EXP_SIZE);
  const view = viewOf(config);
  view.setUint16(0, identity.vendor, true);
  view.setUint16(2, identity.device, true);
  const hasIo = bars.some((bar) => bar.type === "io");
  const hasMemory = bars.some((bar) => bar.type === "memory" || bar.type === "memory64");
  view.setUint16(pci.PCI_COMMAND, (hasIo ? pci.PCI_COMMAND_IO : 0) | (hasMemory ? pci.PCI_COMMAND_MEMORY : 0), true);
  view.setUint32(pci.PCI_REVISION_ID, identity.class * 0x100 + identity.revision, true);
  if (isBridge(identity)) {
    config[pci.PCI_HEADER_TYPE] = 1;
    return config;
  }
  for (const bar of bars) {
    const flags = BAR_FLAGS[bar.type] | (bar.prefetch ? pci.PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
    const address = bar.address | BigInt(flags);
    view.setUint32(barOffset(bar), Number(address & 0xffff_ffffn), true);
    if (bar.type === "memory64") view.setUint32(barOffset(bar) + 4, Number(address >> 32n), true);
  }
  view.setUint16(pci.PCI_SUBSYSTEM_VENDOR_ID, identity.subsystemVendor, true);
  view.setUint16(pci.PCI_SUBSYSTEM_VENDOR_ID + 2, identity.subsystemDevice, true);
  if (layout.interruptPin) {
    config[pci.PCI_INTERRUPT_LINE] = INTERRUPT_LINE;
    config[pci.PCI_INTERRUPT_PIN] = 1;
  }
  addCapabilities(view, layout.capabilities);
  addExtended(view, extended);
  return config;
}

/** Where a BAR's register is in config space. */
export function barOffset(bar: Pick<PciBar, "index">): number {
  return bar.index === pci.ROM_BAR ? pci.PCI_ROM_ADDRESS : pci.PCI_BASE_ADDRESS_0 + bar.index * 4;
}

function addCapabilities(view: DataView, capabilities: readonly Capability[]): void {
  if (capabilities.length === 0) return;
  view.setUint16(pci.PCI_STATUS, pci.PCI_STATUS_CAP_LIST, true);
  let link = pci.PCI_CAPABILITY_LIST;
  for (const { at, capability } of place(capabilities, pci.PCI_STD_HEADER_SIZEOF, pci.PCI_CFG_SPACE_SIZE)) {
    view.setUint8(link, at);
    view.setUint8(at, capability.id);
    link = at + pci.PCI_CAP_LIST_NEXT;
    write(view, at, capability);
  }
}

function addExtended(view: DataView, capabilities: readonly ExtendedCapability[]): void {
  const placed = place(capabilities, pci.PCI_CFG_SPACE_SIZE, pci.PCI_CFG_SPACE_EXP_SIZE);
  for (const [index, { at, capability }] of placed.entries()) {
    const next = placed[index + 1]?.at ?? 0;
    view.setUint32(at, (capability.id | (capability.version << 16) | (next << 20)) >>> 0, true);
    write(view, at, capability);
  }
}

/** Throws RangeError where a capability does not fit: a kind of device that is written wrongly. */
function place<T extends Capability>(capabilities: readonly T[], start: number, end: number) {
  const placed: { readonly at: number; readonly capability: T }[] = [];
  let behind = start;
  for (const capability of capabilities) {
    const { size } = capability;
    const at = capability.at ?? (behind + 3) & ~3;
    const isTaken = placed.some((other) => at < other.at + other.capability.size && other.at < at + size);
    if (isTaken || at < start || at % 4 !== 0 || at + size > end)
      throw new RangeError(
        `the capability 0x${capability.id.toString(16)} of ${size} bytes cannot lie at 0x${at.toString(16)} of config space`,
      );
    placed.push({ at, capability });
    behind = at + size;
  }
  return placed;
}

function write(view: DataView, at: number, { words }: Capability): void {
  for (const [offset, value] of words) view.setUint16(at + offset, value, true);
}
