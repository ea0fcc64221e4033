import type { ControllerFacts } from "./facts.ts";
import * as status from "./status.ts";

/** Feature identifiers. */
export const Feature = {
  arbitration: 0x01,
  powerManagement: 0x02,
  temperatureThreshold: 0x04,
  errorRecovery: 0x05,
  writeCache: 0x06,
  numberOfQueues: 0x07,
  interruptCoalescing: 0x08,
  interruptVector: 0x09,
  writeAtomicity: 0x0a,
  asyncEvents: 0x0b,
  timestamp: 0x0e,
  hostBehavior: 0x16,
  commandSetProfile: 0x19,
  flexiblePlacement: 0x1d,
  placementEvents: 0x1e,
} as const;

const CHANGEABLE = 4;
const OF_NAMESPACE = 2;
const FIXED: readonly number[] = [
  Feature.arbitration,
  Feature.powerManagement,
  Feature.interruptCoalescing,
  Feature.interruptVector,
];
const PER_NAMESPACE: readonly number[] = [Feature.errorRecovery, Feature.placementEvents];

/** The composite temperature, and the threshold that it has at first, in kelvin. */
export const TEMPERATURE = 0x143;
export const WARNING_TEMPERATURE = 0x157;
export const HOST_BEHAVIOR_SIZE = 512;
const NO_LIMIT = 7;
const NOT_COALESCED = 1 << 16;
/** The 16 bits of a threshold; sensor; which of its two. */
const temperature = (dword: number) => ({
  value: dword & 0xffff,
  sensor: (dword >>> 16) & 15,
  which: (dword >>> 20) & 3,
});

/** What a feature is, as capabilities (Get Features with SEL 3) have it; undefined for one that is not there. */
export function featureCapabilities(id: number): number | undefined {
  if (!Object.values(Feature).includes(id as (typeof Feature)[keyof typeof Feature])) return undefined;
  return (FIXED.includes(id) ? 0 : CHANGEABLE) | (PER_NAMESPACE.includes(id) ? OF_NAMESPACE : 0);
}

/** As they are saved. */
export interface FeaturesState {
  readonly over: number;
  readonly under: number;
  readonly asyncEvents: number;
  readonly writeCache: boolean;
  readonly nonatomic: number;
  /** 512 bytes in hex. */
  readonly hostBehavior: string;
  /** What the host has set last, in hex, and how many milliseconds ago. */
  readonly timestamp: string;
  readonly elapsed: number;
}

/**
 * Features of the controller, but for those with data. A reset of any kind leaves them as they are, as recorded
 * (nv_reset_*), although the specification has those that are not saved at their defaults again.
 */
export class Features {
  readonly #facts: ControllerFacts;
  readonly #now: () => number;
  readonly #threshold = { over: WARNING_TEMPERATURE, under: 0 };
  asyncEvents = 0;
  writeCache = true;
  #nonatomic = 0;
  readonly hostBehavior = new Uint8Array(HOST_BEHAVIOR_SIZE);
  #timestamp = 0n;
  #timestampSet = 0;

  /** @param now milliseconds */
  constructor(facts: ControllerFacts, now: () => number) {
    this.#facts = facts;
    this.#now = now;
  }

  /** The controller is enabled: time begins. */
  restart(): void {
    this.timestamp = 0n;
  }

  /** Whether the temperature is beyond a threshold. */
  get isTooWarm(): boolean {
    const { over, under } = this.#threshold;
    return TEMPERATURE >= over || TEMPERATURE <= under;
  }

  /** Feature 0eh: milliseconds in 48 bits, and where they come from. */
  get timestamp(): bigint {
    const elapsed = BigInt(Math.floor(this.#now() - this.#timestampSet));
    const origin = this.#timestamp === 0n ? 0n : 1n << 49n;
    return BigInt.asUintN(48, this.#timestamp + elapsed) | origin;
  }

  set timestamp(value: bigint) {
    this.#timestamp = BigInt.asUintN(48, value);
    this.#timestampSet = this.#now();
  }

  save(): FeaturesState {
    return {
      ...this.#threshold,
      asyncEvents: this.asyncEvents,
      writeCache: this.writeCache,
      nonatomic: this.#nonatomic,
      hostBehavior: Buffer.from(this.hostBehavior).toString("hex"),
      timestamp: this.#timestamp.toString(16),
      elapsed: this.#now() - this.#timestampSet,
    };
  }

  restore(state: FeaturesState): void {
    this.#threshold.over = state.over;
    this.#threshold.under = state.under;
    this.asyncEvents = state.asyncEvents;
    this.writeCache = state.writeCache;
    this.#nonatomic = state.nonatomic;
    this.hostBehavior.set(Buffer.from(state.hostBehavior, "hex"));
    this.#timestamp = BigInt(`0x${state.timestamp}`);
    this.#timestampSet = this.#now() - state.elapsed;
  }

  /** Values of Get Features: dword 0, or a status with DNR. */
  get(id: number, dword: number): { readonly value: number } | { readonly status: number } {
    switch (id) {
      case Feature.temperatureThreshold: {
        const { sensor, which } = temperature(dword);
        if (sensor !== 0) return { value: 0 };
        if (which > 1) return { status: status.INVALID_FIELD | status.DNR };
        return { value: which === 0 ? this.#threshold.over : this.#threshold.under };
      }
      case Feature.writeCache:
        return { value: this.writeCache ? 1 : 0 };
      case Feature.asyncEvents:
        return { value: this.asyncEvents };
      case Feature.flexiblePlacement:
        return { status: status.INVALID_FIELD | status.DNR };
      case Feature.placementEvents:
        return { status: status.PLACEMENT_DISABLED | status.DNR };
      default:
        return this.default(id, dword);
    }
  }

  /** The same for the values that they begin with. */
  default(id: number, dword: number): { readonly value: number } | { readonly status: number } {
    const { queues } = this.#facts;
    switch (id) {
      case Feature.arbitration:
        return { value: NO_LIMIT };
      case Feature.temperatureThreshold: {
        const { sensor, which } = temperature(dword);
        return { value: sensor === 0 && which === 0 ? WARNING_TEMPERATURE : 0 };
      }
      case Feature.numberOfQueues:
        return { value: ((queues - 1) << 16) | (queues - 1) };
      case Feature.interruptVector: {
        const vector = dword & 0xffff;
        if (vector > queues) return { status: status.INVALID_FIELD | status.DNR };
        return { value: vector === 0 ? NOT_COALESCED : vector };
      }
      case Feature.writeAtomicity:
        return { value: this.#nonatomic };
      case Feature.flexiblePlacement:
        return { status: status.INVALID_FIELD | status.DNR };
      default:
        return { value: 0 };
    }
  }

  /** Sets the threshold that a dword names; returns a status. */
  setThreshold(dword: number): number {
    const { value, sensor, which } = temperature(dword);
    if (sensor !== 0) return status.SUCCESS;
    if (which > 1) return status.INVALID_FIELD | status.DNR;
    this.#threshold[which === 0 ? "over" : "under"] = value;
    return status.SUCCESS;
  }

  setAtomicity(dword: number): void {
    this.#nonatomic = dword & 1;
  }
}
