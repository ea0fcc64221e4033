import type { PciDeviceKind } from "../../kind.ts";
import { bits64 } from "../../options.ts";
import { msi, pciExpress, placedAt, translationCapabilities } from "../../pci/capability-kit.ts";
import { PLAIN_CONFIG } from "../../pci/compose-config.ts";
import { EduDevice } from "./edu-device.ts";

/** QEMU's educational device. */
export const edu: PciDeviceKind<{ readonly dma_mask: bigint }> = {
  bus: "pci",
  model: "edu",
  title: "QEMU's edu",
  devices: [
    {
      vendor: 0x1234,
      device: 0x11e8,
      class: 0x00ff00,
      subsystemVendor: 0x1af4,
      subsystemDevice: 0x1100,
      bars: [{ index: 0, size: 0x10_0000, type: "memory" }],
    },
  ],
  mmap: false,
  translates: true,
  options: {
    // QEMU's default is 28 bits; the recorded machines have all 64
    dma_mask: bits64({ meaning: "Address bits that its DMA engine drives.", default: 2n ** 64n - 1n }),
  },
  /** With PASIDs, ATS or PRI it is a PCI Express device that can be reset on its own. */
  config: ({ translation }) =>
    translation === undefined
      ? PLAIN_CONFIG
      : {
          interruptPin: true,
          capabilities: [
            msi({ vectors: 1 }),
            placedAt(0x60, pciExpress({ port: "integrated", functionLevelReset: true })),
          ],
          extended: translationCapabilities(translation),
        },
  canWait: () => true,
  create: (bus, { options, translation }) => new EduDevice(bus, options.dma_mask, translation),
};
