import { ERRORS, MSIX_SIZE, msixOf } from "../../gigabit/config-space.ts";
import { FLASH_BAR, IO_BAR, MSIX_BAR, REGISTER_BAR } from "../../gigabit/port.ts";
import {
  checkOptions,
  NO_FILES,
  PORT_OPTIONS,
  type PortOptions,
  portFacts,
  recordedOptions,
  touchesNobody,
} from "../../gigabit/port-options.ts";
import type { PciDeviceKind } from "../../kind.ts";
import { msi, placedAt, powerManagement } from "../../pci/capability-kit.ts";
import { EXPRESS } from "./config-space.ts";
import { IgbDevice } from "./igb-device.ts";
import { PF_VECTORS, REGISTERS_SIZE } from "./registers.ts";

/** A port of an Intel 82576, as QEMU's igb has it. */
export const igb: PciDeviceKind<PortOptions> = {
  bus: "pci",
  model: "igb",
  title: "a port of an Intel 82576",
  devices: [
    {
      vendor: 0x8086,
      device: 0x10c9,
      class: 0x020000,
      subsystemVendor: 0x1af4,
      subsystemDevice: 0x1100,
      bars: [
        { index: REGISTER_BAR, size: REGISTERS_SIZE, type: "memory" },
        { index: FLASH_BAR, size: 0x2_0000, type: "memory" },
        { index: IO_BAR, size: 0x20, type: "io" },
        { index: MSIX_BAR, size: MSIX_SIZE, type: "memory64" },
      ],
    },
  ],
  mmap: true,
  translates: false,
  options: PORT_OPTIONS,
  checkOptions,
  recordedOptions,
  withoutFiles: (options) => ({ ...options, ...NO_FILES }),
  config: () => ({
    interruptPin: true,
    capabilities: [
      placedAt(0x40, powerManagement({ version: 2, resetsInD3: true })),
      placedAt(0x50, msi({ vectors: 1, maskable: true })),
      placedAt(0x70, msixOf(PF_VECTORS)),
      placedAt(0xa0, EXPRESS),
    ],
    extended: [ERRORS],
  }),
  canWait: touchesNobody,
  create: (bus, instance) => new IgbDevice(bus, portFacts(bus, instance)),
};
