import { fullAddress } from "../../machine/find-device.ts";
import type { ErrnoName } from "../../uapi/errno.ts";
import { CALLS } from "./calls.ts";
import { errnoOf } from "./errno-words.ts";
import { dialectRequest } from "./request-names.ts";
import type { CallName, LineFacts } from "./rule.ts";
import { type OwnedRule, RULES } from "./rules/index.ts";

/** A line that a rule knows. */
export interface LineMatch {
  readonly rule: OwnedRule;
  readonly facts: LineFacts;
  readonly call: CallName | undefined;
  /** The request that failed, where the line names one that no call stands for. */
  readonly request: string | undefined;
}

/**
 * What a line must have so that any rule can know it. Most lines of a log have none of it, and are done with by this
 * one expression.
 */
const MAY_BE_KNOWN =
  /vfio|iommu|dmar|amd-vi|smmu|memlock|locked memory|\bDMA\b|EAL|PCI|\bIRQ\b|\birq \d|0000:|vgpu|ioctl\(|rom|sync|hotplug|write error|assign|iova|monitor|mediated|mem_register|cdev|BAR\b|zapping|start failed/i;

/** Words that make a line worth a remark although nobody knows it. */
const IS_ABOUT = /\bvfio|vfio\b|\biommu|\bDMAR\b|AMD-Vi|\bsmmu|hostdev/i;
const SOUNDS_BAD =
  /\b(?:fail(?:ed|ure|s)?|error|err|cannot|can't|couldn't|could not|unable|invalid|denied|refus\w*|reject\w*|timed? ?out|timeout|fault|bad|bug|not (?:supported|found|permitted|allowed|enough|available)|unsupported|violation|abort\w*|exceed\w*|stuck|broken|warn(?:ing)?)\b/i;

/** Rules that know a line by the request that it names. */
const NAMES_REQUEST: ReadonlySet<string> = new Set(["request", "request-number"]);

/** What a line says; undefined when no rule knows it. */
export function matchLine(line: string): LineMatch | undefined {
  if (!MAY_BE_KNOWN.test(line)) return undefined;
  for (const rule of RULES) {
    const groups = rule.pattern.exec(line)?.groups;
    if (groups === undefined && !rule.pattern.test(line)) continue;
    const match = matched(rule, groups ?? {}, line);
    if (match) return match;
  }
  return undefined;
}

/** Whether a line that no rule knows is about VFIO or the IOMMU and does not sound well. */
export function isUnknownTrouble(line: string): boolean {
  return IS_ABOUT.test(line) && SOUNDS_BAD.test(line);
}

function matched(rule: OwnedRule, groups: Record<string, string | undefined>, line: string): LineMatch | undefined {
  const captured: Record<string, string> = {};
  for (const [name, value] of Object.entries(groups)) {
    // alternatives of a pattern capture the same fact under a name with a number
    const fact = name.replace(/\d$/, "");
    if (value !== undefined && captured[fact] === undefined) captured[fact] = value;
  }
  const errno = rule.errno ?? (captured.errno === undefined ? undefined : errnoOf(captured.errno));
  const isByName = NAMES_REQUEST.has(rule.id);
  const named = isByName ? requestOf(captured) : undefined;
  if (isByName) {
    // a name alone, with no errno behind it, is no failure
    if (named === undefined || errno === undefined) return undefined;
    captured.request = named;
  }
  if (rule.id.startsWith("open-") && errno === undefined) return undefined;
  const call = rule.call ?? (named === undefined ? undefined : callOf(named));
  return {
    rule,
    call,
    request: call === undefined ? named : undefined,
    facts: {
      captured,
      ...factsOf(captured, errno),
      ...(captured.bdf === undefined && deviceIn(line)),
    },
  };
}

function factsOf(
  captured: Readonly<Record<string, string>>,
  errno: ErrnoName | undefined,
): Omit<LineFacts, "captured"> {
  const iova = numberOf(captured.iova);
  const last = numberOf(captured.last);
  const size =
    numberOf(captured.size) ??
    (iova !== undefined && last !== undefined && last >= iova ? last - iova + 1n : undefined);
  const device = captured.bdf ?? captured.short;
  return {
    ...(device !== undefined && { bdf: fullAddress(device.toLowerCase()) }),
    ...(captured.group !== undefined && { group: Number(captured.group) }),
    ...(errno !== undefined && { errno }),
    ...(iova !== undefined && { iova }),
    ...(size !== undefined && size > 0n && { size }),
  };
}

/** The device that a line names somewhere else than where its rule looks, if it names one only. */
function deviceIn(line: string): { readonly bdf: string } | undefined {
  const named = new Set(
    [...line.matchAll(/(?<![\w:])(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7](?!\w|:[0-9a-f])/gi)].map(([text]) =>
      fullAddress(text.toLowerCase()),
    ),
  );
  const [bdf] = named;
  return named.size === 1 ? { bdf: bdf! } : undefined;
}

function numberOf(text: string | undefined): bigint | undefined {
  if (text === undefined || !/^(?:0x[0-9a-f]{1,16}|\d{1,20})$/i.test(text)) return undefined;
  const value = BigInt(text);
  return value < 1n << 64n ? value : undefined;
}

function requestOf({ request, number, nr }: Readonly<Record<string, string>>): string | undefined {
  if (request !== undefined) return dialectRequest(request);
  return dialectRequest(number ?? `0x3b${Number(nr).toString(16).padStart(2, "0")}`);
}

function callOf(request: string): CallName | undefined {
  const found = Object.entries(CALLS).find(([, row]) => row.request === request);
  return found?.[0] as CallName | undefined;
}
