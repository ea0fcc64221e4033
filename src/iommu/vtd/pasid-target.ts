import type { AskForPage, DmaFault, DmaTarget, PasidRequest } from "../dma-target.ts";
import { type AccessMap, walkAccess } from "../dma-walk.ts";
import { describeFault } from "./fault-reasons.ts";
import type { RequestFault, RequestOptions, VtdUnit } from "./unit.ts";

/** Requests of one kind, of a device that waits for pages and of one that does not. */
interface Requests {
  readonly plain: AccessMap<RequestFault>;
  readonly waiting: AccessMap<RequestFault>;
}

/** What requests of one device reach through one entry of its PASID table. */
export class PasidTarget implements DmaTarget {
  readonly #reads: Requests;
  readonly #writes: Requests;
  readonly #privileged: boolean;
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
    // only a device that translates itself hears that a page is missing, and can ask for it if somebody takes that
    const waiting = { ...options, waits: ask !== undefined && (options.ats ?? false) };
    const requests = (kind: "read" | "write"): Requests => ({
      plain: unit.requests(source, pasid, kind, options),
      waiting: unit.requests(source, pasid, kind, waiting),
    });
    this.#reads = requests("read");
    this.#writes = requests("write");
    this.#privileged = options.privileged ?? false;
    this.#what = what;
    this.#ask = ask;
  }

  read(address: bigint, into: Uint8Array, waits = false): DmaFault | undefined {
    const requests = waits ? this.#reads.waiting : this.#reads.plain;
    return this.#explain(walkAccess(requests, address, into, false), false);
  }

  write(address: bigint, from: Uint8Array, waits = false): DmaFault | undefined {
    const requests = waits ? this.#writes.waiting : this.#writes.plain;
    return this.#explain(walkAccess(requests, address, from, true), true);
  }

  #explain(fault: RequestFault | undefined, write: boolean): DmaFault | undefined {
    if (!fault) return undefined;
    const explained = explain(fault, this.#what);
    const ask = this.#ask;
    if (!fault.canAsk || !ask) return explained;
    const page = { address: fault.address & ~0xfffn, write, privileged: this.#privileged };
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
