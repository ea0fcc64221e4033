import type { FaultReason } from "./fault-reasons.ts";

/** What a device wants of an address. */
export interface Access {
  readonly kind: "read" | "write" | "execute";
  /** A request with supervisor privilege (the PR bit of its PASID prefix). */
  readonly privileged: boolean;
}

/** A step that failed, as a value: DMA never throws. */
export interface Refused {
  readonly refused: FaultReason;
}

export function refuse(refused: FaultReason): Refused {
  return { refused };
}

export function isRefused(result: object | bigint): result is Refused {
  return typeof result === "object" && "refused" in result;
}
