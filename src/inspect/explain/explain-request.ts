import { didYouMean } from "../../kernel/nearest.ts";
import { printable } from "../../kernel/printable.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { ERRNO, type ErrnoName } from "../../uapi/errno.ts";
import { type Advice, adviceOn, type ReasonAbout } from "./advice.ts";
import { CALLS } from "./calls.ts";
import { errnoOf } from "./errno-words.ts";
import { KNOWN_ERRORS, type KnownError, readable } from "./error-table.ts";
import { isMadeUp } from "./findings.ts";
import { devicesOf, hostFacts } from "./host-view.ts";
import { ExplainInputError } from "./input-error.ts";
import { EXPLAINED_NAMES, nearestRequest, requestsNamed } from "./request-names.ts";
import type { CallName } from "./rule.ts";

/** A reason of the table of errors, with how to tell it from the others. */
export interface ExplainedReason extends Advice {
  readonly reason: string;
  /** What the request was made on. */
  readonly on: readonly string[];
  /** A recording of a real kernel has it; else only the model's tests. */
  readonly recorded: boolean;
}

/** Why a request fails with an errno. */
export interface RequestExplanation {
  readonly request: string;
  /** The proposal that has the request. */
  readonly proposal?: string;
  readonly errno: ErrnoName;
  readonly number: number;
  /** The host's and its settings' first, then who has what, then arguments. */
  readonly reasons: readonly ExplainedReason[];
  /** What the given host has that it depends on. */
  readonly host: readonly string[];
}

/** From what most programs use to what few do. */
const RARE = ["iommufd compat", "no-IOMMU", "type1 nesting", "spapr"];
const ORDER: readonly ReasonAbout[] = ["host", "state", "arguments"];
/** Longer words are nobody's. */
const WORD_MAX = 60;

/**
 * Why a request fails.
 * @param request a name with or without its prefixes in any case, or a number
 * @param errno a name, a number of any sign, or the words of strerror(); all that it can fail with when left out
 * @throws ExplainInputError
 */
export function requestExplanation(
  request: string,
  errno: string | undefined,
  host: HostDescription | undefined,
): readonly RequestExplanation[] {
  const names = requestsNamed(request);
  if (names.length === 0) throw new ExplainInputError(unknownRequest(request));
  const code = errno === undefined ? undefined : knownErrno(errno);
  const rows = KNOWN_ERRORS.filter((row) => names.includes(row.request) && !isMadeUp(row) && isOf(row, host));
  const wanted = rows.filter((row) => code === undefined || row.errno === code);
  if (wanted.length === 0) throw new ExplainInputError(neverFails(names, code, rows));
  const groups = new Map<string, KnownError[]>();
  for (const row of wanted) {
    const key = `${row.request}\t${row.proposal ?? ""}\t${row.errno}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].map((found) => explained(found, host));
}

function explained(rows: readonly KnownError[], host: HostDescription | undefined): RequestExplanation {
  const { request, proposal, errno } = rows[0]!;
  const reasons = rows.map(({ reason, on, recorded }) => ({
    reason: readable(reason),
    on,
    recorded,
    ...adviceOn(reason, errno),
  }));
  reasons.sort((a, b) => ORDER.indexOf(a.about) - ORDER.indexOf(b.about) || rarity(a.on) - rarity(b.on));
  const call = Object.entries(CALLS).find(([, row]) => row.request === request)?.[0] as CallName | undefined;
  return {
    request,
    ...(proposal !== undefined && { proposal }),
    errno,
    number: ERRNO[errno],
    reasons,
    host: host && call !== undefined ? hostFacts(host, call, devicesOf(host, { captured: {} })) : [],
  };
}

/** What few programs meet comes last. */
function rarity(on: readonly string[]): number {
  return Math.min(...on.map((place) => RARE.findIndex((rare) => place.includes(rare)) + 1));
}

/** Whether a host of this kind can give the reason at all. */
function isOf({ on }: KnownError, host: HostDescription | undefined): boolean {
  if (host === undefined) return true;
  const { vfioContainer, api, iommufd } = host;
  return on.some((place) => {
    if (place === "type1") return vfioContainer === "type1";
    if (place === "type1 nesting") return api !== "mainline";
    if (place === "spapr") return vfioContainer === "spapr";
    if (place === "iommufd compat") return vfioContainer === "iommufd" || iommufd;
    return true;
  });
}

function unknownRequest(text: string): string {
  const word = printable(text, WORD_MAX);
  const guess = nearestRequest(text);
  const hint = guess === undefined ? "" : ` (did you mean ${guess}?)`;
  return `"${word}" is neither a request nor a file${hint}; requests are named as in <linux/vfio.h> (VFIO_IOMMU_MAP_DMA, MAP_DMA, 0x3b71), or open, mmap, read`;
}

function knownErrno(text: string): ErrnoName {
  const found = errnoOf(text);
  if (found !== undefined) return found;
  const meant = didYouMean(text.toUpperCase(), Object.keys(ERRNO));
  throw new ExplainInputError(
    `"${printable(text, WORD_MAX)}" is no errno${meant}; write EINVAL, 22, -22 or "Invalid argument"`,
  );
}

function neverFails(names: readonly string[], errno: ErrnoName | undefined, rows: readonly KnownError[]): string {
  const what = names.join(", ");
  if (errno === undefined) return `${what}: no failure of it is known`;
  const known = [...new Set(rows.map((row) => row.errno))];
  const there = known.length === 0 ? "no failure of it is known" : `it fails with ${known.join(", ")}`;
  return `${what} is not known to fail with ${errno}: ${there}`;
}

/** Whether a word names a request, or is nearly one: else it is a file. */
export function namesRequest(word: string): boolean {
  return requestsNamed(word).length > 0;
}

/** For completion. */
export const REQUESTS_TO_EXPLAIN = EXPLAINED_NAMES;
