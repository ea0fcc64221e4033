import {
  ADVANCED_ERRORS,
  type Capability,
  type ExtendedCapability,
  msix,
  pciExpress,
} from "../../pci/capability-kit.ts";
import { MSIX_BAR } from "./igb-device.ts";

/** Bytes of the BAR that has MSI-X's table and pending bits. */
export const MSIX_SIZE = 0x4000;
const MSIX_PENDING = 0x2000;

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
/** What of errors is masked, and how severe they are, after power-on. */
export const ERRORS: ExtendedCapability = {
  ...ADVANCED_ERRORS,
  words: [
    [0x0a, 0x0240],
    [0x0c, 0x2030],
    [0x0e, 0x0046],
    [0x14, 0xe000],
    [0x18, 0x00a0],
  ],
};
export const ALTERNATIVE_ROUTING: ExtendedCapability = { id: 0x0e, version: 1, size: 8, words: [] };

/** MSI-X as both kinds of functions have it. */
export function msixOf(vectors: number) {
  return msix({
    vectors,
    table: { bar: MSIX_BAR, offset: 0 },
    pending: { bar: MSIX_BAR, offset: MSIX_PENDING },
  });
}
