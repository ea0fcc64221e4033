import { ADVANCED_FEATURES, msi, placedAt } from "../pci/capability-kit.ts";
import type { ConfigLayout } from "../pci/compose-config.ts";

/** One MSI vector, and a function-level reset in a capability of conventional PCI, as Intel's graphics have it. */
export const MEDIATED_CONFIG: ConfigLayout = {
  interruptPin: true,
  capabilities: [msi({ vectors: 1 }), placedAt(0x60, ADVANCED_FEATURES)],
};
