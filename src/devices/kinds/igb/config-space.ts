import { type Capability, type ExtendedCapability, pciExpress } from "../../pci/capability-kit.ts";

/** Both kinds of functions as recorded: extended tags, a reset of its own, one lane of 2.5 GT/s. */
export const EXPRESS: Capability = {
  ...pciExpress({ port: "endpoint", functionLevelReset: true }),
  words: [
    [0x02, 2],
    [0x04, 0x8020],
    [0x06, 0x1000],
    [0x0c, 0x0411],
    [0x12, 0x0011],
    [0x26, 0x0030],
  ],
};
export const ALTERNATIVE_ROUTING: ExtendedCapability = { id: 0x0e, version: 1, size: 8, words: [] };
