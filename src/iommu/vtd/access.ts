import type { FaultReason } from "./fault-reasons.ts";

/** What a device wants of an address. */
export interface Access {
  readonly kind: "read" | "write" | "execute";
  /** A request with supervisor privilege (the PR bit of its PASID prefix). */
  readonly privileged: boolean;
}

/** What the entries down to some level allow together. */
export interface Permission {
  readonly write: boolean;
  readonly user: boolean;
  readonly noExecute: boolean;
}

/** A step that failed, as a value: DMA never throws. */
export class Refused {
  readonly refused: FaultReason;

  constructor(refused: FaultReason) {
    this.refused = refused;
  }
}

export function refuse(refused: FaultReason): Refused {
  return new Refused(refused);
}

export function isRefused(result: object): result is Refused {
  return result instanceof Refused;
}
