import type { DeviceModelName, PciBar } from "./host-description.ts";

/** What follows from a device's ids when a description leaves it out. */
export interface KnownDevice {
  /** 24 bits. */
  readonly class: number;
  readonly subsystemVendor: number;
  readonly subsystemDevice: number;
  readonly model: DeviceModelName;
  readonly bars: readonly PciBar[];
  /** It has a power management capability and loses its state in D3, which makes it resettable on its own. */
  readonly resetsInD3?: boolean;
}

const QEMU_SUBSYSTEM = { subsystemVendor: 0x1af4, subsystemDevice: 0x1100 };

/** By "vendor:device". The devices of the recorded machines, with the region sizes that their d_regions scenarios show. */
const KNOWN: Readonly<Record<string, KnownDevice>> = {
  // QEMU edu
  "1234:11e8": {
    class: 0x00ff00,
    ...QEMU_SUBSYSTEM,
    model: "edu",
    bars: [{ index: 0, size: 0x10_0000, type: "memory" }],
  },
  // QEMU pci-testdev
  "1b36:0005": {
    class: 0x00ff00,
    ...QEMU_SUBSYSTEM,
    model: "pci-testdev",
    bars: [
      { index: 0, size: 0x1000, type: "memory" },
      { index: 1, size: 0x100, type: "io" },
    ],
  },
  // QEMU nvme
  "1b36:0010": {
    class: 0x010802,
    ...QEMU_SUBSYSTEM,
    model: "generic",
    bars: [{ index: 0, size: 0x4000, type: "memory64" }],
  },
  // Intel DMA engine of Skylake servers (CBDMA)
  "8086:2021": {
    class: 0x088000,
    subsystemVendor: 0x8086,
    subsystemDevice: 0x0000,
    model: "ioat",
    bars: [{ index: 0, size: 0x4000, type: "memory64" }],
  },
  // Intel 82574L (QEMU e1000e)
  "8086:10d3": {
    class: 0x020000,
    subsystemVendor: 0x8086,
    subsystemDevice: 0x0000,
    model: "generic",
    // Recorded on pseries, where nothing else can reset it (a04): VFIO_DEVICE_FLAGS_RESET.
    resetsInD3: true,
    bars: [
      { index: 0, size: 0x2_0000, type: "memory" },
      { index: 1, size: 0x2_0000, type: "memory" },
      { index: 2, size: 0x20, type: "io" },
      { index: 3, size: 0x4000, type: "memory" },
      { index: 6, size: 0x4_0000, type: "rom" },
    ],
  },
};

export function knownDevice(vendor: number, device: number): KnownDevice | undefined {
  return KNOWN[`${hex4(vendor)}:${hex4(device)}`];
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, "0");
}
