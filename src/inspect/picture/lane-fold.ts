import { clusters, type Fold, foldOf, type Stretch } from "./fold.ts";
import type { SpaceState } from "./state.ts";

/** What is mapped is seen as so many groups of mappings; within a group it is to scale. */
const GROUPS_MAX = 24;
/** Of a long list of ranges so many have a place of their own. */
const RANGES_MAX = 64;
const LAST = (1n << 64n) - 1n;

/**
 * The fold of an address space: what is mapped, what cannot be and why, and what can be.
 * @param also what is looked at, such as what a failed call asked for
 */
export function laneFold({ facts, mapped }: Pick<SpaceState, "facts" | "mapped">, also: readonly Stretch[] = []): Fold {
  const taken = facts.taken.slice(0, RANGES_MAX).map(({ first, last }) => stretch(first, last));
  // the end of the address space, where it cannot be used, is as empty as what can be used and is not
  const seen = [...taken.filter(({ last }) => last < LAST), ...clusters(mapped.outline(), GROUPS_MAX)];
  const edges = facts.valid.slice(0, RANGES_MAX).flatMap(([first, last]) => [BigInt(first), BigInt(last) + 1n]);
  return foldOf(seen, edges, also);
}

function stretch(first: string, last: string): Stretch {
  return { start: BigInt(first), last: BigInt(last) };
}
