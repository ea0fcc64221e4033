import { FIRST_DATA, TABLE_PAGES } from "./area.ts";
import type { Named } from "./words.ts";

/** A page of a tenant's memory. */
export interface Place {
  readonly box: Named;
  readonly page: number;
}

/** What may happen to a request: it reaches one of `places`, or it faults where that is allowed. */
export interface Outcome {
  readonly places: readonly Place[];
  readonly mayFault: boolean;
}

export const FAULT: Outcome = { places: [], mayFault: true };

/** What an address is meant as: a page of the window, a virtual page of a guest, or a page of a process's own memory. */
export type AddressKind = "window" | "virtual" | "process";

export interface Address {
  readonly kind: AddressKind;
  readonly index: number;
}

/** A mapping of one page; those of the table pages are made and taken together. */
export interface Mapped {
  readonly page: number;
  readonly write: boolean;
}

/** Memory and how it is mapped for devices. */
export interface MappedMemory extends Named {
  readonly maps: ReadonlyMap<number, Mapped>;
}

export function throughMappings(box: MappedMemory, { kind, index }: Address, write: boolean): Outcome {
  const mapped = kind === "window" ? box.maps.get(index) : undefined;
  if (!mapped || (write && !mapped.write)) return FAULT;
  return { places: [{ box, page: mapped.page }], mayFault: false };
}

/** @param leaves by virtual page, the pages that it may lead to: old ones too, until they are invalidated */
export function throughGuest(
  box: MappedMemory,
  leaves: readonly ReadonlySet<number>[],
  { kind, index }: Address,
  write: boolean,
): Outcome {
  if (kind !== "virtual") return FAULT;
  for (let page = 0; page < TABLE_PAGES; page++) if (!box.maps.has(page)) return FAULT;
  const found = leaves[index] ?? new Set<number>();
  const outcomes = [...found].map((leaf) =>
    leaf < FIRST_DATA ? FAULT : throughMappings(box, { kind: "window", index: leaf }, write),
  );
  return {
    places: outcomes.flatMap(({ places }) => places),
    // what an invalidation has to take away may answer or not
    mayFault: found.size !== 1 || outcomes.some(({ mayFault }) => mayFault),
  };
}

export function describePlaces({ places }: Outcome): string {
  return places.map(({ box, page }) => `page ${page} of ${box.name}`).join(", ") || "nothing";
}
