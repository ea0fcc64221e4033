import { type DmaTarget, NoTarget, type PasidRequest } from "../dma-target.ts";
import type { Mappings, Stage } from "../domain.ts";
import type { NestingUse } from "../nesting-iommus.ts";
import type { InvalidatedUnit, ProposedIommus } from "../proposed.ts";
import { type DmaOwner, Requester, type RequesterIdentity } from "../requester.ts";
import { VtdDomain } from "./domain.ts";
import { RejectedTarget } from "./pasid-target.ts";
import { type TablesBySegment, VtdTables } from "./tables.ts";
import { VTD_INVALIDATIONS } from "./user-invalidation.ts";
import { VTD_TABLES } from "./user-table.ts";

/**
 * The Intel IOMMUs of a host, one for each PCI segment: equal source-ids of different segments share no table, no cache
 * and no invalidation.
 */
export class VtdUnits implements ProposedIommus, TablesBySegment {
  readonly tables = VTD_TABLES;
  readonly invalidations = VTD_INVALIDATIONS;
  readonly #bySegment = new Map<number, VtdTables>();

  of({ segment }: RequesterIdentity): VtdTables {
    let tables = this.#bySegment.get(segment);
    if (!tables) {
      tables = new VtdTables();
      this.#bySegment.set(segment, tables);
    }
    return tables;
  }

  get proposed(): ProposedIommus {
    return this;
  }

  unitOf(identity: RequesterIdentity): InvalidatedUnit {
    return this.of(identity).unit;
  }

  isTaken(requester: Requester, pasid: number): boolean {
    return this.of(requester.identity).isTaken(requester, pasid);
  }

  get use(): NestingUse {
    const all = [...this.#bySegment.values()];
    const sum = (count: (tables: VtdTables) => number) => all.reduce((total, tables) => total + count(tables), 0);
    return {
      requesters: sum(({ requesterCount }) => requesterCount),
      domains: sum(({ domainCount }) => domainCount),
      entries: sum(({ entryCount }) => entryCount),
      tablePages: sum(({ unit }) => unit.memory.residentPages),
      secondLevels: sum(({ unit }) => unit.secondLevelCount),
    };
  }

  connect(identity: RequesterIdentity, owner: DmaOwner, plain: DmaTarget): Requester {
    const tables = this.of(identity);
    const requester = new Requester(identity, owner, plain, (request) => refuse(tables, identity, request));
    tables.connect(requester);
    return requester;
  }

  disconnect(requester: Requester): void {
    this.of(requester.identity).disconnect(requester);
  }

  paging(mappings: Mappings, stage: Stage): VtdDomain {
    return VtdDomain.over(this, mappings, stage);
  }
}

/**
 * A request that nothing is bound for. The parent's table is not asked about a mediated device: what is there is
 * another's.
 */
function refuse(tables: VtdTables, identity: RequesterIdentity, request: PasidRequest): DmaTarget {
  const { name, functionName, source, isMediated } = identity;
  if (isMediated) {
    return new NoTarget(`${functionName} gave PASID ${request.pasid} to no work of ${name}: it is not bound for it`);
  }
  return new RejectedTarget(tables.unit, source, request);
}
