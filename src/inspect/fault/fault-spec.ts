import { didYouMean, nearest } from "../../kernel/nearest.ts";
import { fullAddress } from "../../machine/find-device.ts";
import { ERRNO, type ErrnoName } from "../../uapi/errno.ts";
import { REQUEST_NAMES, requestNamed } from "../../uapi/requests/dialects.ts";

/** Which of the matching calls fail, counted from 1. */
export type FaultTimes =
  | { readonly kind: "all" }
  | { readonly kind: "range"; readonly first: number; readonly last: number }
  | { readonly kind: "every"; readonly step: number }
  | { readonly kind: "chance"; readonly share: number; readonly seed: number };

/** What `--fault` asks for. */
export interface FaultSpec {
  /** As it was written. */
  readonly text: string;
  readonly target:
    | { readonly kind: "request"; readonly name: string }
    | { readonly kind: "call"; readonly name: "open" | "pread" | "pwrite" | "mmap" }
    | { readonly kind: "dma"; readonly device: string };
  readonly times: FaultTimes;
  /** Only calls or accesses that touch this range. Both ends belong to it. */
  readonly range: { readonly first: bigint; readonly last: bigint } | undefined;
  /** Undefined for DMA, which faults. */
  readonly errno: ErrnoName | undefined;
}

/** A fault that cannot be understood: one line that says where and what would do. */
export class FaultSpecError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "FaultSpecError";
  }
}

/** Calls that can fail, beside requests. */
export const FAULT_CALLS = ["open", "pread", "pwrite", "mmap"] as const;
const FORM = "write it like VFIO_IOMMU_MAP_DMA#3=ENOMEM or dma:0000:00:1b.0=fault";

/**
 * Reads TARGET[#TIMES][@RANGE]=EFFECT.
 * @param devices that there are, for a better message; any when left out
 * @throws FaultSpecError
 */
export function parseFault(text: string, devices?: readonly string[]): FaultSpec {
  const refuse = (what: string, cure: string): never => {
    throw new FaultSpecError(`--fault "${text}": ${what}; ${cure}`);
  };
  const equals = text.lastIndexOf("=");
  if (equals < 0) refuse("no = with the failure behind it", FORM);
  const effect = text.slice(equals + 1);
  const match = /^([^#@]*)(?:#([^@]*))?(?:@(.*))?$/.exec(text.slice(0, equals));
  if (!match) refuse("more than one # or @, or in the wrong order", FORM);
  const [, targetText = "", timesText, rangeText] = match!;
  const target = parseTarget(targetText, devices, refuse);
  const isDma = target.kind === "dma";
  if (isDma && effect !== "fault") refuse(`a device's DMA cannot fail with "${effect}"`, "write =fault");
  if (!isDma && (effect === "fault" || !Object.hasOwn(ERRNO, effect))) {
    const near = didYouMean(effect, Object.keys(ERRNO));
    refuse(`"${effect}" is no errno${near}`, `write one like ENOMEM, EINVAL or EFAULT`);
  }
  const times = parseTimes(timesText, refuse);
  const range = rangeText === undefined ? undefined : parseRange(rangeText, refuse);
  if (range && !isDma && !requestNamed(target.name)?.range)
    refuse(`${target.name} is about no IOVAs, so none would ever fail`, "leave the @ and the range out");
  return { text, target, times, range, errno: isDma ? undefined : (effect as ErrnoName) };
}

type Refuse = (what: string, cure: string) => never;

function parseTarget(text: string, devices: readonly string[] | undefined, refuse: Refuse): FaultSpec["target"] {
  if (text.startsWith("dma:")) {
    const device = fullAddress(text.slice(4).toLowerCase());
    if (devices && !devices.includes(device)) {
      refuse(`no PCI device "${device}" on this host`, `there are: ${devices.join(", ") || "none"}`);
    }
    return { kind: "dma", device };
  }
  const call = FAULT_CALLS.find((name) => name === text);
  if (call) return { kind: "call", name: call };
  if (REQUEST_NAMES.includes(text)) return { kind: "request", name: text };
  const wanted = text.toUpperCase();
  const near = REQUEST_NAMES.filter((name) => wanted.length > 2 && name.includes(wanted.replace(/^VFIO_/, "")));
  const known = [...REQUEST_NAMES, ...FAULT_CALLS];
  const guess = nearest(text, known) ?? nearest(`VFIO_IOMMU_${text}`, known) ?? nearest(`IOMMU_${text}`, known);
  const cure =
    near.length > 0
      ? `perhaps ${near.slice(0, 3).join(" or ")}`
      : guess === undefined
        ? FORM
        : `did you mean ${guess}?`;
  return refuse(`"${text}" is no request, no call (${FAULT_CALLS.join(", ")}) and no dma:DEVICE`, cure);
}

function parseTimes(text: string | undefined, refuse: Refuse): FaultTimes {
  if (text === undefined) return { kind: "all" };
  const cure =
    "write #3 (the third), #3- (from the third on), #3-5, #/4 (every fourth), or #10%:SEED (a tenth of them)";
  const range = /^([1-9]\d{0,8})(?:(-)([1-9]\d{0,8})?)?$/.exec(text);
  if (range) {
    const first = Number(range[1]);
    const last = range[2] === undefined ? first : range[3] === undefined ? Number.POSITIVE_INFINITY : Number(range[3]);
    if (last < first) refuse(`#${text} ends before it begins`, cure);
    return { kind: "range", first, last };
  }
  const every = /^\/([1-9]\d{0,8})$/.exec(text);
  if (every) return { kind: "every", step: Number(every[1]) };
  const chance = /^(\d{1,3}(?:\.\d+)?)%(?::(\d{1,9}))?$/.exec(text);
  if (chance && Number(chance[1]) === 0) refuse(`"#${text}" fails nothing`, cure);
  if (chance && Number(chance[1]) <= 100) {
    return { kind: "chance", share: Number(chance[1]) / 100, seed: Number(chance[2] ?? 1) };
  }
  return refuse(`"#${text}" does not say which calls`, cure);
}

function parseRange(text: string, refuse: Refuse): { first: bigint; last: bigint } {
  const cure = "write @0x1000-0x1fff (both ends belong to it) or @0x1000+0x1000";
  const match = /^(0x[0-9a-f]{1,16}|\d{1,20})([-+])(0x[0-9a-f]{1,16}|\d{1,20})$/i.exec(text);
  if (!match) return refuse(`"@${text}" is no range of IOVAs`, cure);
  const first = BigInt(match[1]!);
  const second = BigInt(match[3]!);
  const last = match[2] === "-" ? second : first + second - 1n;
  if (last < first || last >= 1n << 64n) refuse(`"@${text}" holds no IOVA, or ones beyond 64 bits`, cure);
  return { first, last };
}
