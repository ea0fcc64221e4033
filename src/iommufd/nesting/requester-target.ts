import type { DmaFault, DmaTarget } from "../../iommu/dma-target.ts";
import { describeFault } from "../../iommu/vtd/fault-reasons.ts";
import type { RequestFault, RequestOptions, VtdUnit } from "../../iommu/vtd/unit.ts";

/** A page that a device asks for. */
export interface WantedPage {
  readonly address: bigint;
  readonly write: boolean;
  readonly privileged: boolean;
}

/** Takes a page request; `answered` may be called before it returns. */
export type AskForPage = (page: WantedPage, answered: (granted: boolean) => void) => void;

/** What requests of one device reach in an IOMMU with PASIDs. */
export class RequesterTarget implements DmaTarget {
  readonly #unit: VtdUnit;
  readonly #source: number;
  readonly #pasid: number;
  readonly #options: RequestOptions;
  readonly #what: string;
  readonly #ask: AskForPage;

  /**
   * @param pasid which entry of the device's PASID table; 0 for requests without one
   * @param what for messages: "PASID 5"
   */
  constructor(
    unit: VtdUnit,
    { source, pasid, what }: { readonly source: number; readonly pasid: number; readonly what: string },
    options: RequestOptions,
    ask: AskForPage,
  ) {
    this.#unit = unit;
    this.#source = source;
    this.#pasid = pasid;
    this.#options = options;
    this.#what = what;
    this.#ask = ask;
  }

  read(address: bigint, into: Uint8Array, waits = false): DmaFault | undefined {
    return this.#explain(this.#unit.read(this.#source, this.#pasid, address, into, this.#with(waits)), false);
  }

  write(address: bigint, from: Uint8Array, waits = false): DmaFault | undefined {
    return this.#explain(this.#unit.write(this.#source, this.#pasid, address, from, this.#with(waits)), true);
  }

  /** Only a device that translates itself hears that a page is missing, and can ask for it. */
  #with(waits: boolean): RequestOptions {
    return { ...this.#options, waits: waits && (this.#options.ats ?? false) };
  }

  #explain(fault: RequestFault | undefined, write: boolean): DmaFault | undefined {
    if (!fault) return undefined;
    const { address, reason, canAsk } = fault;
    const explained: DmaFault = {
      iova: address,
      reason: `${this.#what}: ${describeFault(reason)}`,
      byPasidTable: true,
    };
    if (!canAsk) return explained;
    const page = { address: address & ~0xfffn, write, privileged: this.#options.privileged ?? false };
    return { ...explained, ask: (answered) => this.#ask(page, answered) };
  }
}
