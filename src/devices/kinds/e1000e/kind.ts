import { ERRORS, MSIX_SIZE, msixOf } from "../../gigabit/config-space.ts";
import { FLASH_BAR, IO_BAR, MSIX_BAR, REGISTER_BAR } from "../../gigabit/port.ts";
import {
  addressOf,
  checkOptions,
  NO_FILES,
  PORT_OPTIONS,
  type PortOptions,
  portFacts,
  recordedOptions,
  touchesNobody,
} from "../../gigabit/port-options.ts";
import type { PciDeviceKind } from "../../kind.ts";
import { type Capability, msi, pciExpress, placedAt, powerManagement, serialNumber } from "../../pci/capability-kit.ts";
import { ROM_BAR } from "../../pci/registers.ts";
import { E1000eDevice } from "./e1000e-device.ts";
import { ROM } from "./facts.ts";
import { REGISTERS_SIZE, VECTORS } from "./registers.ts";

/** PCI Express of the first version, as recorded: no reset of its own, one lane of 2.5 GT/s. */
const EXPRESS: Capability = {
  ...pciExpress({ port: "endpoint", functionLevelReset: false }),
  size: 20,
  words: [
    [0x02, 1],
    [0x04, 0x8020],
    [0x0c, 0x0411],
    [0x12, 0x0011],
  ],
};
/** It has to be initialised after D3 (device-specific initialisation). */
const POWER: Capability = {
  ...powerManagement({ version: 2, resetsInD3: true }),
  words: [[2, 0x22]],
};

/** Intel's 82574L, as QEMU's e1000e has it. */
export const e1000e: PciDeviceKind<PortOptions> = {
  bus: "pci",
  model: "e1000e",
  title: "Intel 82574L",
  devices: [
    {
      vendor: 0x8086,
      device: 0x10d3,
      class: 0x020000,
      subsystemVendor: 0x8086,
      subsystemDevice: 0x0000,
      bars: [
        { index: REGISTER_BAR, size: REGISTERS_SIZE, type: "memory" },
        { index: FLASH_BAR, size: 0x2_0000, type: "memory" },
        { index: IO_BAR, size: 0x20, type: "io" },
        { index: MSIX_BAR, size: MSIX_SIZE, type: "memory" },
        { index: ROM_BAR, size: 0x4_0000, type: "rom" },
      ],
    },
  ],
  mmap: true,
  translates: false,
  options: PORT_OPTIONS,
  checkOptions,
  recordedOptions,
  withoutFiles: (options) => ({ ...options, ...NO_FILES }),
  config: (instance) => ({
    interruptPin: true,
    capabilities: [
      placedAt(0xc8, POWER),
      placedAt(0xd0, msi({ vectors: 1 })),
      placedAt(0xe0, EXPRESS),
      placedAt(0xa0, msixOf(VECTORS)),
    ],
    extended: [ERRORS, placedAt(0x140, serialNumber(serialOf(addressOf(instance))))],
  }),
  canWait: touchesNobody,
  create: (bus, { rom = ROM, ...instance }) => new E1000eDevice(bus, portFacts(bus, instance), rom),
};

/** A port's address with ff:ff in its middle. */
function serialOf(mac: Uint8Array): bigint {
  const bytes = [...mac.subarray(0, 3), 0xff, 0xff, ...mac.subarray(3)];
  return bytes.reduce((serial, byte) => (serial << 8n) | BigInt(byte), 0n);
}
