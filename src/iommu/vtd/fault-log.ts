import type { Access } from "./access.ts";
import { FAULT_REASONS, type FaultReason, isRecoverable } from "./fault-reasons.ts";

/** A fault as the unit records it. */
export interface FaultRecord {
  /**
   * unrecoverable: reported and over. page-request: the device asked for the page (PRI), which only the guest could
   * give it.
   */
  readonly type: "unrecoverable" | "page-request";
  /** The device: bus, device and function. */
  readonly source: number;
  readonly pasid: number;
  /** The page's first address, before translation. */
  readonly address: bigint;
  readonly kind: Access["kind"];
  readonly privileged: boolean;
  readonly reason: FaultReason;
  /** The code of `reason`. */
  readonly code: number;
}

/** How many faults are kept per device. */
const KEPT = 64;

/** The faults of all devices. When a device has more than are kept, the oldest stay, as in the hardware's registers. */
export class FaultLog {
  readonly #records = new Map<number, FaultRecord[]>();
  /** Faults that were not kept. */
  overflowed = 0;

  record(
    source: number,
    pasid: number,
    address: bigint,
    access: Access,
    reason: FaultReason,
    pageRequests: boolean,
  ): void {
    const records = this.#records.get(source) ?? [];
    this.#records.set(source, records);
    if (records.length >= KEPT) {
      this.overflowed++;
      return;
    }
    records.push({
      type: pageRequests && isRecoverable(reason) ? "page-request" : "unrecoverable",
      source,
      pasid,
      address: address & ~0xfffn,
      kind: access.kind,
      privileged: access.privileged,
      reason,
      code: FAULT_REASONS[reason].code,
    });
  }

  /** What a device has, oldest first. */
  of(source: number): readonly FaultRecord[] {
    return this.#records.get(source) ?? [];
  }

  clear(source: number): void {
    this.#records.delete(source);
  }
}
