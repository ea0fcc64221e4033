import type { Koffi } from "./c-functions.ts";

/** What the single executable (`npm run build:binary`) has in itself, where an installed package has files. */
export interface Carried {
  readonly koffi: Koffi;
  /** uvfio's own. */
  readonly version: string;
  /** A file of the page of `--view` by its name. */
  page(name: string): string;
}

/** scripts/start/binary.mjs sets it before anything of ours is loaded; undefined in an installed package. */
export const carried = (globalThis as Record<symbol, unknown>)[Symbol.for("uvfio.carried")] as Carried | undefined;
