import { type DmaFault, type DmaTarget, NoTarget, type PasidRequest } from "../../iommu/dma-target.ts";
import { describeFault } from "../../iommu/vtd/fault-reasons.ts";
import type { RequestFault, RequestOptions, VtdUnit } from "../../iommu/vtd/unit.ts";
import type { NestingContainer } from "./nesting-container.ts";

/** DMA of the devices in a container that knows PASIDs. Requests without one go where they always go. */
export class NestingDma implements DmaTarget {
  readonly #plain: DmaTarget;
  readonly #container: NestingContainer;

  constructor(plain: DmaTarget, container: NestingContainer) {
    this.#plain = plain;
    this.#container = container;
  }

  read(iova: bigint, into: Uint8Array): DmaFault | undefined {
    return this.#plain.read(iova, into);
  }

  write(iova: bigint, from: Uint8Array): DmaFault | undefined {
    return this.#plain.write(iova, from);
  }

  withPasid(requester: string, request: PasidRequest | undefined): DmaTarget {
    const container = this.#container;
    const device = container.find(requester);
    if (!device) return new NoTarget(`${requester} has no IOMMU here that could translate a PASID`);
    const { unit } = container.hardware;
    const own = container.auxPasid(requester);
    if (!request) {
      return own === undefined
        ? this.#plain
        : new PasidTarget(unit, device.source, { pasid: own, ats: false, privileged: false });
    }
    if (device.isMediated && request.pasid !== own && !container.isBound(request.pasid)) {
      return new NoTarget(
        `${device.requester} gave PASID ${request.pasid} to no work of ${requester}: it is not bound for it`,
      );
    }
    return new PasidTarget(unit, device.source, request);
  }
}

/** What one device reaches with one PASID. */
class PasidTarget implements DmaTarget {
  readonly #unit: VtdUnit;
  readonly #source: number;
  readonly #pasid: number;
  readonly #options: RequestOptions;

  constructor(unit: VtdUnit, source: number, { pasid, ats, privileged }: PasidRequest) {
    this.#unit = unit;
    this.#source = source;
    this.#pasid = pasid;
    this.#options = { ats, privileged };
  }

  read(address: bigint, into: Uint8Array): DmaFault | undefined {
    return this.#explain(this.#unit.read(this.#source, this.#pasid, address, into, this.#options));
  }

  write(address: bigint, from: Uint8Array): DmaFault | undefined {
    return this.#explain(this.#unit.write(this.#source, this.#pasid, address, from, this.#options));
  }

  #explain(fault: RequestFault | undefined): DmaFault | undefined {
    if (!fault) return undefined;
    const reason = `PASID ${this.#pasid}: ${describeFault(fault.reason)}`;
    return { iova: fault.address, reason, byPasidTable: true };
  }
}
