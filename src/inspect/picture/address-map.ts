import type { IovaRange } from "../../address/iova-ranges.ts";
import { type Fold, foldOf } from "./fold.ts";

/** valid: can be mapped; taken: cannot; ram: a guest's memory; collision: what of it cannot be mapped. */
export type PieceKind = "valid" | "taken" | "ram" | "collision";

/** A range in a row. Inclusive bytes. */
export interface MapPiece extends IovaRange {
  readonly kind: PieceKind;
  /** "msi": what stands in it. */
  readonly text?: string;
  /** Whose it is, and the like, for a line of its own. */
  readonly about?: string;
}

/** A row of a map: what a host has, or a guest. Later pieces lie over earlier ones. */
export interface MapRow {
  readonly title: string;
  readonly note: string;
  readonly pieces: readonly MapPiece[];
}

/** Where addresses are in a map of these rows: all of its pieces are to be seen. */
export function mapFold(rows: readonly MapRow[]): Fold {
  const pieces = rows.flatMap((row) => row.pieces);
  const seen = pieces.filter(({ kind }) => kind !== "valid");
  const edges = pieces.flatMap(({ start, last }) => [start, last + 1n]);
  return foldOf(seen, edges);
}

/** The addresses at which something begins or ends, in order. */
export function edgesOf(rows: readonly MapRow[]): bigint[] {
  const all = rows.flatMap(({ pieces }) => pieces.flatMap(({ start, last }) => [start, last + 1n]));
  return [...new Set(all)].sort((a, b) => (a < b ? -1 : 1));
}
