import type { MediatedKind } from "../kind.ts";
import { GenericDevice } from "../kinds/generic.ts";
import { MEDIATED_CONFIG } from "./mediated-config.ts";

/** What i915 GVT shows: the identity of its parent with registers that are plain memory. It never pins. */
export const genericMediated: MediatedKind = {
  bus: "mdev",
  model: "generic",
  title: "generic mediated device",
  types: /^i915-GVTg_/,
  // no I/O ports, no ROM (gvt/cfg_space.c, gvt/kvmgt.c)
  identity: (parent) => ({
    ...parent,
    bars: parent.bars.filter(({ type }) => type === "memory" || type === "memory64"),
  }),
  config: MEDIATED_CONFIG,
  create: () => new GenericDevice(),
};
