import type { PciDeviceDescription } from "./host-description.ts";

/**
 * Which devices are PCI Express, where neither a description nor a config space says it: those of a kind that has never
 * been made otherwise. The others are taken for conventional ones, as functions of a chip set and emulated devices on a
 * root bus are.
 */

/** Base class and subclass. */
const EXPRESS_CLASSES: ReadonlySet<number> = new Set([
  0x0108, // non-volatile memory (NVMe)
  0x0302, // 3D controller
  0x0502, // CXL memory
  0x1200, // processing accelerator
]);

/** Vendors that have made PCI Express devices only since the device id that is given. */
const EXPRESS_SINCE: ReadonlyMap<number, number> = new Map([
  [0x10de, 0x0400], // NVIDIA
  [0x1002, 0x6600], // AMD graphics
  [0x15b3, 0x1002], // Mellanox
  [0x144d, 0xa800], // Samsung
  [0x1d0f, 0xcd00], // Amazon
  [0x19e5, 0x0200], // Huawei
]);

/**
 * Single ids, "from-to" inclusive, of Intel (8086) and Broadcom (14e4) networking; the numbers lie between those of
 * older buses.
 */
const EXPRESS_IDS: ReadonlyMap<number, readonly (readonly [number, number])[]> = new Map([
  [
    0x8086,
    [
      [0x0d58, 0x0d90], // XXV710 N3000, forward error correction
      [0x105e, 0x1060], // 82571
      [0x107d, 0x107f], // 82572
      [0x108b, 0x108c], // 82573
      [0x109a, 0x109a],
      [0x10a4, 0x10a7], // 82571, 82575
      [0x10b6, 0x10bc], // 82598
      [0x10c6, 0x10c9], // 82598, 82576
      [0x10ca, 0x10ca],
      [0x10d3, 0x10fc], // 82574, 82598, 82599
      [0x150a, 0x1518], // 82576, 82580, 82599
      [0x1520, 0x1528], // I350, X540
      [0x1533, 0x1539], // I210
      [0x154a, 0x158b], // X540, X550, X710
      [0x1591, 0x159b], // E810
      [0x15c2, 0x15e5], // X550
      [0x15f2, 0x15f3], // I225
      [0x1889, 0x1889],
      [0x0435, 0x0443], // QuickAssist
      [0x19e2, 0x19e3],
      [0x37c8, 0x37d3], // QuickAssist, X722
      [0x4940, 0x4945],
      [0x57c0, 0x57c5],
    ],
  ],
  [
    0x14e4,
    [
      [0x1639, 0x163f], // NetXtreme II
      [0x1650, 0x16af],
      [0x16c8, 0x16f1], // NetXtreme-C, -E
      [0x1750, 0x1809],
    ],
  ],
  [0x1b36, [[0x0010, 0x0010]]], // QEMU's nvme
]);

/** PCI bridges that lead to a conventional bus from one. */
const CONVENTIONAL_BRIDGES: ReadonlySet<string> = new Set(["1b36:1", "8086:244e", "8086:2448", "8086:2918"]);
/** Bridges from PCI Express to a conventional bus. */
const REVERSE_BRIDGES: ReadonlySet<string> = new Set([
  "1b36:e", // QEMU's pcie-pci-bridge
  "104c:8231", // XIO2000
  "10b5:8112", // PEX8112
  "12d8:e111", // PI7C9X111
  "1283:8892", // IT8892
  "1b21:1080", // ASM1083
]);
const BRIDGE = 0x0604;

/** Whether what is below a bridge without a recorded config space is conventional PCI. */
export function leadsToConventionalBus({ vendor, device }: PciDeviceDescription): boolean {
  const id = `${vendor.toString(16)}:${device.toString(16)}`;
  return CONVENTIONAL_BRIDGES.has(id) || REVERSE_BRIDGES.has(id);
}

/** Whether a device without a recorded config space is PCI Express. */
export function isExpressKind({ vendor, device, class: code, pcie, ...facts }: PciDeviceDescription): boolean {
  if (pcie !== undefined) return pcie;
  if (facts.physfn !== undefined || facts.sriovTotalVfs !== undefined) return true;
  if (code >>> 8 === BRIDGE) return !CONVENTIONAL_BRIDGES.has(`${vendor.toString(16)}:${device.toString(16)}`);
  if (EXPRESS_CLASSES.has(code >>> 8)) return true;
  if (device >= (EXPRESS_SINCE.get(vendor) ?? Number.POSITIVE_INFINITY)) return true;
  return (EXPRESS_IDS.get(vendor) ?? []).some(([from, to]) => device >= from && device <= to);
}
