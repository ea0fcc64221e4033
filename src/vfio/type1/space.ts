import { ALL_ADDRESSES, holesIn } from "../../address/iova-ranges.ts";
import { addressToPage, pageRunBytes } from "../../address/pages.ts";
import { binds, groupLabel } from "../../iommu/group.ts";
import type { BackendSpace, SpaceListener, SpaceMapping, TakenRange } from "../space-view.ts";
import type { Type1Iommu } from "./iommu.ts";
import { MAP_READ, MAP_WRITE } from "./mapping-table.ts";

/** A container's address space, for who looks on. */
export class Type1Space implements BackendSpace {
  readonly #iommu: Type1Iommu;
  readonly #listeners = new Set<SpaceListener>();

  constructor(iommu: Type1Iommu) {
    this.#iommu = iommu;
  }

  /** With mediated devices alone all addresses are valid. */
  get valid() {
    const { ranges } = this.#iommu.validRanges;
    return ranges.length > 0 ? ranges : [ALL_ADDRESSES];
  }

  get taken(): TakenRange[] {
    const { domains } = this.#iommu;
    const reserved = domains.flatMap(({ groups }) =>
      groups.flatMap(({ group: { iommuGroup } }) =>
        iommuGroup.reservedRegions
          .filter(binds)
          .map(({ start, last, type }) => ({ start, last, what: type, of: groupLabel(iommuGroup) })),
      ),
    );
    const outside = domains.flatMap(({ unit: { apertureStart: start, apertureLast: last, label } }) =>
      holesIn(ALL_ADDRESSES, [{ start, last }]).map((hole) => ({ ...hole, what: "outside the aperture", of: label })),
    );
    // what a group has left behind that is gone stays out of the list
    const others = holesIn(ALL_ADDRESSES, [...this.valid, ...reserved, ...outside]);
    return [...reserved, ...outside, ...others.map((hole) => ({ ...hole, what: "not valid", of: "the container" }))];
  }

  from(address: bigint, most: number): SpaceMapping[] {
    const { mappings } = this.#iommu;
    const { byIova } = mappings;
    const found: SpaceMapping[] = [];
    for (let more = byIova.seek(addressToPage(address)); more && found.length < most; more = byIova.next()) {
      const flags = mappings.flagsOf(byIova.value);
      found.push(mappingOf(byIova.start, byIova.pages, flags));
    }
    return found;
  }

  watch(listener: SpaceListener): () => void {
    const { mappings } = this.#iommu;
    const listeners = this.#listeners.add(listener);
    mappings.listener = {
      added: (page, pages, flags) => {
        const mapping = mappingOf(page, pages, flags);
        for (const each of listeners) each.mapped(mapping);
      },
      removed: (page, pages) => {
        const range = pageRunBytes(page, pages);
        for (const each of listeners) each.unmapped(range);
      },
    };
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) mappings.listener = undefined;
    };
  }
}

function mappingOf(page: number, pages: number, flags: number): SpaceMapping {
  return { ...pageRunBytes(page, pages), read: (flags & MAP_READ) !== 0, write: (flags & MAP_WRITE) !== 0 };
}
