import type { PciDeviceKind } from "../../kind.ts";
import { ADVANCED_ERRORS, msix, pciExpress, placedAt, powerManagement } from "../../pci/capability-kit.ts";
import { IoatDevice } from "./ioat-device.ts";

/** Intel's DMA engine of Skylake servers (CBDMA). */
export const ioat: PciDeviceKind = {
  bus: "pci",
  model: "ioat",
  title: "Intel's DMA engine",
  devices: [
    {
      vendor: 0x8086,
      device: 0x2021,
      class: 0x088000,
      subsystemVendor: 0x8086,
      subsystemDevice: 0x0000,
      bars: [{ index: 0, size: 0x4000, type: "memory64" }],
    },
  ],
  mmap: true,
  translates: false,
  config: () => ({
    interruptPin: true,
    capabilities: [
      // no soft reset on D3hot to D0: function-level reset is there for that
      placedAt(0x40, powerManagement({ version: 3, resetsInD3: false })),
      placedAt(0x50, msix({ vectors: 1, table: { bar: 0, offset: 0x2000 }, pending: { bar: 0, offset: 0x3000 } })),
      placedAt(0x70, pciExpress({ port: "integrated", functionLevelReset: true })),
    ],
    // its driver looks into the space behind, at 0x148 and 0x180 (drivers/dma/ioat/registers.h), which is plain here
    extended: [ADVANCED_ERRORS],
  }),
  canWait: () => true,
  create: (bus) => new IoatDevice(bus),
};
