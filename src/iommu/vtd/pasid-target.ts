import type { AskForPage, DmaFault, DmaTarget, PasidRequest } from "../dma-target.ts";
import { describeFault } from "./fault-reasons.ts";
import type { RequestFault, RequestOptions, VtdUnit } from "./unit.ts";

/** What requests of one device reach through one entry of its PASID table. */
export class PasidTarget implements DmaTarget {
  readonly #unit: VtdUnit;
  readonly #source: number;
  readonly #pasid: number;
  readonly #options: RequestOptions;
  readonly #what: string;
  readonly #ask: AskForPage | undefined;

  /**
   * @param pasid which entry of the table; 0 for requests without one
   * @param what for messages: "PASID 5"
   */
  constructor(
    unit: VtdUnit,
    { source, pasid, what }: { readonly source: number; readonly pasid: number; readonly what: string },
    options: RequestOptions,
    ask?: AskForPage,
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

  /** Only a device that translates itself hears that a page is missing, and can ask for it if somebody takes that. */
  #with(waits: boolean): RequestOptions {
    return { ...this.#options, waits: waits && this.#ask !== undefined && (this.#options.ats ?? false) };
  }

  #explain(fault: RequestFault | undefined, write: boolean): DmaFault | undefined {
    if (!fault) return undefined;
    const explained = explain(fault, this.#what);
    const ask = this.#ask;
    if (!fault.canAsk || !ask) return explained;
    const page = { address: fault.address & ~0xfffn, write, privileged: this.#options.privileged ?? false };
    return { ...explained, ask: (answered) => ask(page, answered) };
  }
}

/** A request with a PASID that nothing is bound to: it faults as the hardware has it, and no table is looked at. */
export class RejectedTarget implements DmaTarget {
  readonly #unit: VtdUnit;
  readonly #source: number;
  readonly #request: PasidRequest;

  constructor(unit: VtdUnit, source: number, request: PasidRequest) {
    this.#unit = unit;
    this.#source = source;
    this.#request = request;
  }

  read(address: bigint, into: Uint8Array): DmaFault {
    into.fill(0);
    return this.#reject(address, "read");
  }

  write(address: bigint): DmaFault {
    return this.#reject(address, "write");
  }

  #reject(address: bigint, kind: "read" | "write"): DmaFault {
    const { pasid, privileged } = this.#request;
    return explain(this.#unit.reject(this.#source, pasid, address, kind, privileged), `PASID ${pasid}`);
  }
}

function explain({ address, reason }: RequestFault, what: string): DmaFault {
  return { iova: address, reason: `${what}: ${describeFault(reason)}`, byPasidTable: true };
}
