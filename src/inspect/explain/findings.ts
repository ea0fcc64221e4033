import type { ErrnoName } from "../../uapi/errno.ts";
import { CALLS, causesOf } from "./calls.ts";
import { KNOWN_ERRORS, type KnownError } from "./error-table.ts";
import { isUnknownTrouble, type LineMatch, matchLine } from "./line-match.ts";
import type { LogLine } from "./log-lines.ts";
import type { CallName, Cause, LineFacts, LineKind } from "./rule.ts";
import type { OwnedRule } from "./rules/index.ts";

/** Findings, lines of one, and ranges of one that are kept; more are counted. */
const FINDINGS_MAX = 500;
const LINES_MAX = 20;
const RANGES_MAX = 16;

/** A range that a log names as mapped, or not. */
export interface NamedRange {
  readonly iova: bigint;
  readonly size: bigint | undefined;
}

/** What a log says, with all lines that say the same. */
export interface Finding {
  readonly rule: OwnedRule;
  readonly kind: LineKind;
  /** The first line that says it. */
  readonly line: LogLine;
  readonly facts: LineFacts;
  readonly call: CallName | undefined;
  readonly request: string | undefined;
  /** Numbers of the lines that say it, at most LINES_MAX of them. */
  readonly lines: readonly number[];
  /** How many there are in all. */
  readonly count: number;
  readonly ranges: readonly NamedRange[];
}

interface Collected extends Finding {
  facts: LineFacts;
  rule: OwnedRule;
  line: LogLine;
  lines: number[];
  count: number;
  ranges: NamedRange[];
}

/** A line that is about VFIO and that nobody knows. */
export interface UnknownLine {
  readonly line: LogLine;
  readonly count: number;
}

/** Collects what the lines of a log say. */
export class FindingCollector {
  readonly #findings = new Map<string, Collected>();
  readonly #unknown = new Map<string, { line: LogLine; count: number }>();
  /** Findings and lines beyond what is kept. */
  dropped = 0;

  add(line: LogLine): void {
    const match = matchLine(line.text);
    if (match) this.#known(line, match);
    else if (isUnknownTrouble(line.text)) this.#strange(line);
  }

  get findings(): readonly Finding[] {
    return [...this.#findings.values()];
  }

  get unknown(): readonly UnknownLine[] {
    return [...this.#unknown.values()];
  }

  #known(line: LogLine, match: LineMatch): void {
    const key = keyOf(match);
    const found = this.#findings.get(key) ?? this.#sameCall(match);
    if (found) {
      found.count++;
      if (found.lines.length < LINES_MAX && found.lines.at(-1) !== line.number) found.lines.push(line.number);
      // a line that says more than the first one stands for all
      if (weight(match.facts) > weight(found.facts)) {
        found.line = line;
        found.rule = match.rule;
        found.facts = { ...match.facts, ...pick(found.facts, match.facts) };
      } else found.facts = { ...found.facts, ...pick(match.facts, found.facts) };
      this.#addRange(found, match.facts);
      return;
    }
    if (this.#findings.size >= FINDINGS_MAX) {
      this.dropped++;
      return;
    }
    const { rule, facts, call, request } = match;
    const kind = rule.kind ?? "failure";
    const added: Collected = { rule, kind, line, facts, call, request, lines: [line.number], count: 1, ranges: [] };
    this.#addRange(added, facts);
    this.#findings.set(key, added);
  }

  /** The finding of the same call with the same errno, where one of both does not say for which device. */
  #sameCall({ call, facts, rule }: LineMatch): Collected | undefined {
    if (call === undefined || rule.kind === "harmless") return undefined;
    return [...this.#findings.values()].find(
      (each) =>
        each.call === call &&
        each.facts.errno === facts.errno &&
        (each.facts.group === facts.group || each.facts.group === undefined || facts.group === undefined) &&
        (each.facts.bdf === facts.bdf || each.facts.bdf === undefined || facts.bdf === undefined),
    );
  }

  #addRange(found: Collected, { iova, size }: LineFacts): void {
    if (iova === undefined || found.ranges.length >= RANGES_MAX) return;
    if (!found.ranges.some((range) => range.iova === iova && range.size === size)) found.ranges.push({ iova, size });
  }

  #strange(line: LogLine): void {
    // the same but for numbers
    const key = line.text.replace(/^.*?(?=vfio|iommu|DMAR|AMD-Vi|smmu|hostdev)/i, "").replace(/0x[0-9a-f]+|\d+/gi, "N");
    const found = this.#unknown.get(key);
    if (found) found.count++;
    else if (this.#unknown.size < FINDINGS_MAX) this.#unknown.set(key, { line, count: 1 });
    else this.dropped++;
  }
}

function keyOf({ rule, facts, call, request }: LineMatch): string {
  const { bdf, group, errno } = facts;
  if (rule.kind === "harmless" || rule.kind === "consequence") return rule.id;
  return [call ?? request ?? rule.id, errno, bdf ?? group].join(" ");
}

function weight({ bdf, iova, group }: LineFacts): number {
  return (iova === undefined ? 0 : 4) + (bdf === undefined ? 0 : 2) + (group === undefined ? 0 : 1);
}

/** Facts that the other has not. */
function pick(from: LineFacts, other: LineFacts): Partial<LineFacts> {
  return {
    ...(other.bdf === undefined && from.bdf !== undefined && { bdf: from.bdf }),
    ...(other.group === undefined && from.group !== undefined && { group: from.group }),
    ...(other.iova === undefined && from.iova !== undefined && { iova: from.iova }),
    ...(other.size === undefined && from.size !== undefined && { size: from.size }),
  };
}

/** A cause with how sure it is. */
export interface JudgedCause extends Cause {
  readonly sureness: "certain" | "likely";
  /** What makes it certain, when not the line itself. */
  readonly evidence?: string;
}

/** What may be behind a finding, the surest first, by the line and by the other lines of the log. */
export function judgedCauses(finding: Finding, all: readonly Finding[]): readonly JudgedCause[] {
  const { rule, facts, call } = finding;
  const causes = rule.causes ?? (call === undefined ? [] : causesOf(call, facts.errno));
  const kept = causes.filter((cause) => !finding.ranges.length || !everyRange(finding, cause, "impossible"));
  const judged = kept.map((cause) => judge(finding, cause, all, rule.certain === true));
  const certain = judged.filter(({ sureness }) => sureness === "certain");
  // what the log itself says rules out the rest
  return certain.length > 0 ? certain : judged.sort((a, b) => rank(finding, a) - rank(finding, b));
}

function rank(finding: Finding, cause: JudgedCause): number {
  if (cause.evidence !== undefined) return -1;
  return finding.ranges.some((range) => verdictOn(finding, cause, range) === "first") ? 0 : 1;
}

function verdictOn(finding: Finding, cause: Cause, { iova, size }: NamedRange) {
  return cause.judge?.({ ...finding.facts, iova, ...(size !== undefined && { size }) });
}

function everyRange(finding: Finding, cause: Cause, verdict: string): boolean {
  return finding.ranges.every((range) => verdictOn(finding, cause, range) === verdict);
}

function judge(finding: Finding, cause: Cause, all: readonly Finding[], ofLine: boolean): JudgedCause {
  if (ofLine) return { ...cause, sureness: "certain" };
  const witness = all.find(
    (other) =>
      other !== finding &&
      cause.saidBy?.some((id) => other.rule.id === id || other.rule.id.startsWith(`${id}-`)) &&
      isSameDevice(finding, other),
  );
  if (witness) {
    // of which device the line speaks that names none, the witness cannot know
    const isSure = witness.facts.bdf === undefined || witness.facts.bdf === finding.facts.bdf;
    const evidence = `line ${witness.line.number} ${isSure ? "says so" : "points to it"}`;
    return { ...cause, sureness: isSure ? "certain" : "likely", evidence };
  }
  const isCertain = finding.ranges.length > 0 && everyRange(finding, cause, "certain");
  return { ...cause, sureness: isCertain ? "certain" : "likely" };
}

/** Lines about two different devices do not explain each other. */
function isSameDevice({ facts: a }: Finding, { facts: b }: Finding): boolean {
  return a.bdf === undefined || b.bdf === undefined || a.bdf === b.bdf;
}

/** What the table of errors has for a request that failed and for which no causes are written. */
export function tableCauses(request: string, errno: ErrnoName): readonly KnownError[] {
  return KNOWN_ERRORS.filter((each) => each.request === request && each.errno === errno && !isMadeUp(each));
}

/** Injected by tests: no program meets it. */
export function isMadeUp({ reason }: KnownError): boolean {
  return /was made to fail/.test(reason);
}

/** The request that a finding is about, as the table of errors calls it. */
export function requestOf({ call, request }: Finding): string | undefined {
  return request ?? (call === undefined ? undefined : CALLS[call].request);
}
