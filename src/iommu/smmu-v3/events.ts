import { IOMMU_VEVENTQ_TYPE_ARM_SMMUV3, IommuVeventArmSmmuv3 } from "../../uapi/iommufd-viommu.ts";
import type { VirtualIommuGround } from "../virtual-iommu.ts";

/**
 * Events that this model can record, with their number and what they mean (Arm IHI 0070, "Event records"). Those with
 * `known` go to a guest when they are of its stage (arm-smmu-v3.c:arm_smmu_handle_event).
 */
export const EVENTS = {
  C_BAD_STE: { number: 0x04, text: "the stream table entry asks for what this SMMU has not" },
  F_STREAM_DISABLED: { number: 0x06, text: "the stream table entry allows no request without a substream (S1DSS)" },
  C_BAD_SUBSTREAMID: { number: 0x08, text: "there is no context descriptor for the PASID" },
  C_BAD_CD: { number: 0x0a, text: "the context descriptor is invalid, or asks for what this SMMU has not" },
  F_TRANSLATION: { number: 0x10, text: "the address is not mapped" },
  F_ADDR_SIZE: { number: 0x11, text: "an address in the tables is beyond the output size" },
  F_ACCESS: { number: 0x12, text: "the access flag of the page is not set (AF)" },
  F_PERMISSION: { number: 0x13, text: "the page does not allow the access" },
} as const satisfies Record<string, { readonly number: number; readonly text: string }>;

export type EventName = keyof typeof EVENTS;

/** What was being read when a fault came: a context descriptor, a translation table, or the data itself. */
export type FaultClass = "context" | "table" | "input";

const CLASS_CODES: Readonly<Record<FaultClass, bigint>> = { context: 0n, table: 1n, input: 2n };

/** A step that failed, as a value: DMA never throws. */
export class Refused {
  readonly refused: EventName;
  readonly class: FaultClass;
  /** Which stage found it: 2 is the program's own mappings. */
  readonly stage: 1 | 2;
  /** The intermediate address that stage 2 did not let through. */
  readonly intermediate: bigint | undefined;
  /** The context descriptor asks for no record (R is 0). */
  unrecorded = false;

  constructor(refused: EventName, faultClass: FaultClass, stage: 1 | 2, intermediate?: bigint) {
    this.refused = refused;
    this.class = faultClass;
    this.stage = stage;
    this.intermediate = intermediate;
  }
}

/** A fault of stage 1. */
export function refuse(refused: EventName, faultClass: FaultClass = "input"): Refused {
  return new Refused(refused, faultClass, 1);
}

/** A fault of stage 2. */
export function refuseSecond(refused: EventName, faultClass: FaultClass, intermediate: bigint): Refused {
  return new Refused(refused, faultClass, 2, intermediate);
}

export function isRefused(result: unknown): result is Refused {
  return result instanceof Refused;
}

/** "F_TRANSLATION (0x10): the address is not mapped" */
export function describeFault({ refused, class: where, stage, intermediate }: Refused): string {
  const { number, text } = EVENTS[refused];
  const name = `SMMUv3 ${refused} (0x${number.toString(16)})`;
  if (stage === 1) return `${name}: ${text}`;
  const what = { context: "a context descriptor", table: "a stage-1 table", input: "the memory" }[where];
  return `${name}, stage 2: ${what} at 0x${intermediate?.toString(16)} is not mapped for this by the program`;
}

/** A request that faulted. */
export interface FaultingRequest {
  /** The number that the guest has for the device. */
  readonly streamId: bigint;
  /** Undefined for requests without one. */
  readonly substream: number | undefined;
  readonly address: bigint;
  readonly write: boolean;
  readonly privileged: boolean;
}

/** Word 0 */
const SUBSTREAM_VALID = 1n << 11n;
const SUBSTREAM_AT = 12n;
const STREAM_AT = 32n;
/** Word 1 */
const PRIVILEGED = 1n << 33n;
const READ = 1n << 35n;
const CLASS_AT = 40n;

/** Whether words 1 and 2 say how the request was made; faults of the configuration leave them 0. */
const WITH_REQUEST: ReadonlySet<EventName> = new Set(["F_TRANSLATION", "F_ADDR_SIZE", "F_ACCESS", "F_PERMISSION"]);

/** The record of a fault of stage 1 with the guest's stream id in it (arm_vmaster_report_event). */
export function eventRecord(refused: Refused, request: FaultingRequest): [bigint, bigint, bigint, bigint] {
  const { substream, streamId, write, privileged, address } = request;
  const ofSubstream = substream === undefined ? 0n : SUBSTREAM_VALID | (BigInt(substream) << SUBSTREAM_AT);
  const head = BigInt(EVENTS[refused.refused].number) | ofSubstream | (BigInt.asUintN(32, streamId) << STREAM_AT);
  if (!WITH_REQUEST.has(refused.refused)) return [head, 0n, 0n, 0n];
  const how = (write ? 0n : READ) | (privileged ? PRIVILEGED : 0n) | (CLASS_CODES[refused.class] << CLASS_AT);
  return [head, how, BigInt.asUintN(64, address), 0n];
}

/**
 * Tells the guest of a fault, if the kernel does: of stage 1 only, and where the virtual SMMU has a queue for it. The
 * kernel's log has the others.
 */
export function reportEvent(ground: VirtualIommuGround, refused: Refused, request: FaultingRequest): void {
  if (refused.stage !== 1 || refused.unrecorded || !ground.hears(IOMMU_VEVENTQ_TYPE_ARM_SMMUV3)) return;
  // the record is little-endian, whatever the machine is
  const event = IommuVeventArmSmmuv3.encode({ evt: eventRecord(refused, request) });
  ground.report(IOMMU_VEVENTQ_TYPE_ARM_SMMUV3, event);
}
