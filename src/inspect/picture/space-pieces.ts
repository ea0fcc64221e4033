import type { SpaceView } from "../../vfio/space-view.ts";
import type { MapPiece } from "./address-map.ts";

/** What can be mapped in an address space, and whose the rest is. */
export function spacePieces({ valid, taken }: Pick<SpaceView, "valid" | "taken">): MapPiece[] {
  return [
    ...valid.map(({ start, last }) => ({ start, last, kind: "valid" as const })),
    ...taken.map(({ start, last, what, of }) => ({ start, last, kind: "taken" as const, text: what, about: of })),
  ];
}
