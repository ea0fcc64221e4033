import type { PinnedRange } from "./table-access.ts";

/** Whether the pages of a range lie side by side in memory: one page does, and what is in one huge page. */
export function areContiguous(pieces: PinnedRange["pieces"]): boolean {
  const [first, ...others] = pieces;
  if (!first || others.length > 0) return false;
  const { area, holder } = first;
  return holder.start === holder.last || area.pages.inOneHugePage(holder);
}
