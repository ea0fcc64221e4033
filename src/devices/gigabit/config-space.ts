import { ADVANCED_ERRORS, type Capability, type ExtendedCapability, msix } from "../pci/capability-kit.ts";
import { MSIX_BAR } from "./port.ts";

/** Bytes of the BAR that has MSI-X's table and pending bits. */
export const MSIX_SIZE = 0x4000;
const MSIX_PENDING = 0x2000;

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

/** MSI-X in its own BAR. */
export function msixOf(vectors: number): Capability {
  return msix({
    vectors,
    table: { bar: MSIX_BAR, offset: 0 },
    pending: { bar: MSIX_BAR, offset: MSIX_PENDING },
  });
}
