import { ERRORS, MSIX_SIZE, msixOf } from "../gigabit/config-space.ts";
import { MSIX_BAR, REGISTER_BAR } from "../gigabit/port.ts";
import type { PciDeviceKind } from "../kind.ts";
import { placedAt } from "../pci/capability-kit.ts";
import { ALTERNATIVE_ROUTING, EXPRESS } from "./igb/config-space.ts";
import { VF_VECTORS } from "./igb/registers.ts";
import { IgbVirtualFunction } from "./igb/virtual-function.ts";

const VF_REGISTERS = 0x4000;

/** A virtual function of an Intel 82576's port. */
export const igbvf: PciDeviceKind = {
  bus: "pci",
  model: "igbvf",
  title: "a virtual function of an Intel 82576",
  devices: [
    {
      vendor: 0x8086,
      device: 0x10ca,
      class: 0x020000,
      subsystemVendor: 0x1af4,
      subsystemDevice: 0x1100,
      bars: [
        { index: REGISTER_BAR, size: VF_REGISTERS, type: "memory64", prefetch: true },
        { index: MSIX_BAR, size: MSIX_SIZE, type: "memory64", prefetch: true },
      ],
    },
  ],
  mmap: true,
  translates: false,
  config: () => ({
    interruptPin: false,
    capabilities: [placedAt(0xa0, EXPRESS), placedAt(0x70, msixOf(VF_VECTORS))],
    extended: [ERRORS, placedAt(0x150, ALTERNATIVE_ROUTING)],
  }),
  create: (bus, { virtual }) => new IgbVirtualFunction(bus, virtual),
};
