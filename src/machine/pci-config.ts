import { allDevices } from "./find-device.ts";
import type { HostDescription, PciBar, PciDeviceDescription } from "./host-description.ts";
import { ioatConfig } from "./ioat-config.ts";
import { knownDevice } from "./known-devices.ts";
import { translatingConfig } from "./translating-config.ts";

/** Offsets in config space (include/uapi/linux/pci_regs.h). */
const PCI_COMMAND = 0x04;
const PCI_STATUS = 0x06;
const PCI_CLASS_REVISION = 0x08;
const PCI_HEADER_TYPE = 0x0e;
const PCI_BASE_ADDRESS_0 = 0x10;
const PCI_SUBSYSTEM_VENDOR_ID = 0x2c;
const PCI_ROM_ADDRESS = 0x30;
const PCI_CAPABILITY_LIST = 0x34;
const PCI_INTERRUPT_LINE = 0x3c;
const PCI_INTERRUPT_PIN = 0x3d;
const PCI_COMMAND_IO = 1;
const PCI_COMMAND_MEMORY = 2;
const PCI_STATUS_CAP_LIST = 0x10;

/** Where firmware puts BARs that no recording places: each kind in a range of its own, upwards. */
const FIRST_ADDRESS = { memory: 0xc000_0000n, memory64: 0x40_0000_0000n, io: 0x1000n } as const;

/** A BAR with its place. */
export interface PlacedBar extends PciBar {
  /** First bus address. */
  readonly address: bigint;
}

export function isBridge(device: Pick<PciDeviceDescription, "class">): boolean {
  return device.class >>> 8 === 0x0604;
}

/**
 * The device's config space as firmware leaves it: as recorded; what its model needs; or else a plain header of 256 bytes with one MSI
 * capability (64-bit, one vector, at 0x40, as QEMU's edu has it).
 */
export function configSpace(host: HostDescription, device: PciDeviceDescription): Uint8Array {
  if (device.config) return device.config;
  const header = synthesised(device, placeBars(host).get(device.bdf)!);
  if (device.model === "pci-testdev") return withoutInterrupts(header);
  if (device.translation) return translatingConfig(header, device.translation);
  return device.model === "ioat" ? ioatConfig(header) : header;
}

/** A header without capabilities and interrupt pin, as QEMU's pci-testdev was recorded (d_config_F). */
function withoutInterrupts(config: Uint8Array): Uint8Array {
  config.fill(0, PCI_STATUS, PCI_STATUS + 2);
  config.fill(0, PCI_CAPABILITY_LIST);
  return config;
}

/** The BARs of a device that have a known size, with their places. */
export function placedBars(host: HostDescription, device: PciDeviceDescription): readonly PlacedBar[] {
  const { config } = device;
  if (!config) return placeBars(host).get(device.bdf)!;
  return device.bars.map((bar) => ({ ...bar, address: addressIn(config, bar) }));
}

/** Places the BARs of all devices without recorded config space, in the order of the description, each at a multiple of its size. */
function placeBars(host: HostDescription): ReadonlyMap<string, readonly PlacedBar[]> {
  const next = { ...FIRST_ADDRESS } as Record<keyof typeof FIRST_ADDRESS, bigint>;
  const placed = new Map<string, readonly PlacedBar[]>();
  for (const { device } of allDevices(host)) {
    if (device.bus !== "pci" || device.config) continue;
    const bars = device.bars.map((bar) => {
      const kind = bar.type === "rom" ? "memory" : bar.type;
      const size = BigInt(bar.size);
      const address = ((next[kind] + size - 1n) / size) * size;
      // Bridges hand out whole pages, so no two BARs share one; io ports are fine-grained.
      next[kind] = address + (kind === "io" || size > 0x1000n ? size : 0x1000n);
      return { ...bar, address };
    });
    placed.set(device.bdf, bars);
  }
  return placed;
}

function barOffset(bar: PciBar): number {
  return bar.index === 6 ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS_0 + bar.index * 4;
}

function addressIn(config: Uint8Array, bar: PciBar): bigint {
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  const low = view.getUint32(barOffset(bar), true);
  if (bar.type === "io") return BigInt(low & ~3) & 0xffff_ffffn;
  if (bar.type === "rom") return BigInt.asUintN(32, BigInt(low)) & 0xffff_f800n;
  const high = bar.type === "memory64" ? view.getUint32(barOffset(bar) + 4, true) : 0;
  return (BigInt(high) << 32n) | (BigInt(low) & 0xffff_fff0n);
}

/** What a header is made from. */
export type HeaderFacts = Pick<
  PciDeviceDescription,
  "vendor" | "device" | "class" | "revision" | "subsystemVendor" | "subsystemDevice"
>;

const BAR_FLAGS = { memory: 0, memory64: 4, io: 1, rom: 0 } as const;

/** A plain header of 256 bytes with one MSI capability at 0x40. */
export function synthesised(device: HeaderFacts, bars: readonly PlacedBar[]): Uint8Array {
  const config = new Uint8Array(256);
  const view = new DataView(config.buffer);
  view.setUint16(0, device.vendor, true);
  view.setUint16(2, device.device, true);
  const hasIo = bars.some((bar) => bar.type === "io");
  const hasMemory = bars.some((bar) => bar.type === "memory" || bar.type === "memory64");
  view.setUint16(PCI_COMMAND, (hasIo ? PCI_COMMAND_IO : 0) | (hasMemory ? PCI_COMMAND_MEMORY : 0), true);
  view.setUint32(PCI_CLASS_REVISION, device.class * 0x100 + device.revision, true);
  if (isBridge(device)) {
    config[PCI_HEADER_TYPE] = 1;
    return config;
  }
  for (const bar of bars) {
    const address = bar.address | BigInt(BAR_FLAGS[bar.type]);
    view.setUint32(barOffset(bar), Number(address & 0xffff_ffffn), true);
    if (bar.type === "memory64") view.setUint32(barOffset(bar) + 4, Number(address >> 32n), true);
  }
  view.setUint16(PCI_SUBSYSTEM_VENDOR_ID, device.subsystemVendor, true);
  view.setUint16(PCI_SUBSYSTEM_VENDOR_ID + 2, device.subsystemDevice, true);
  view.setUint16(PCI_STATUS, PCI_STATUS_CAP_LIST, true);
  config[PCI_CAPABILITY_LIST] = 0x40;
  config[PCI_INTERRUPT_LINE] = 11;
  config[PCI_INTERRUPT_PIN] = 1;
  const powerManagement = knownDevice(device.vendor, device.device)?.resetsInD3 ? 0x50 : 0;
  config.set([0x05, powerManagement, 0x80, 0x00], 0x40);
  // version 2, D0 and D3 only
  if (powerManagement !== 0) config.set([0x01, 0x00, 0x02, 0x00], powerManagement);
  return config;
}
