import { hex } from "../../kernel/errors.ts";
import { printable } from "../../kernel/printable.ts";
import { ERRNO } from "../../uapi/errno.ts";
import type { ExplainedReason, RequestExplanation } from "./explain-request.ts";
import type { Explanation, LogExplanation, ToldCause } from "./explanation.ts";

/** How words look; the identity where colours are not wanted. */
export interface ExplainStyle {
  heading(text: string): string;
  certain(text: string): string;
  likely(text: string): string;
}

const plain = (text: string) => text;
export const PLAIN_EXPLANATION: ExplainStyle = { heading: plain, certain: plain, likely: plain };

/** Characters of a line of the log that are shown. */
const SHOWN_MAX = 300;
/** Remarks and unknown lines that are shown; more are counted. */
const REMARKS_MAX = 12;

/** What a log says, for people: failures first, each with its cause and cure. */
export function* logReport(log: LogExplanation, style: ExplainStyle): Generator<string> {
  for (const [index, explanation] of log.explained.entries()) {
    if (index > 0) yield "";
    yield* explanationLines(explanation, style);
  }
  const follow = log.remarks.filter(({ finding }) => finding.kind === "consequence");
  const harmless = log.remarks.filter(({ finding }) => finding.kind === "harmless");
  yield* remarks("follows from that", follow, style);
  yield* remarks("harmless", harmless, style);
  yield* unknownLines(log, style);
  if (log.explained.length === 0 && follow.length === 0) {
    yield `${log.lines} lines, none of which is known to report a failure of VFIO or the IOMMU.`;
    if (log.unknown.length > 0 || harmless.length === 0)
      yield "What helps: the whole of what the VMM said on stderr, and dmesg of the same minute (uvfio explain takes both in one file).";
  }
  if (log.dropped > 0) yield `... and ${log.dropped} more kinds of lines, which were too many to keep`;
}

function* explanationLines({ finding, says, causes, host, capture, request }: Explanation, style: ExplainStyle) {
  const { line, rule, facts } = finding;
  yield `${style.heading(`line ${line.number}:`)} ${shown(line.text)}`;
  yield `  ${says}${timesText(finding)} [${rule.program}]`;
  const certain = causes.filter(({ sureness }) => sureness === "certain");
  for (const cause of certain) yield* certainLines(cause, style);
  const likely = causes.filter(({ sureness }) => sureness === "likely");
  if (likely.length > 0) {
    yield `  ${style.likely("likely")}${likely.length > 1 ? ", the likeliest first" : ""}:`;
    for (const [index, cause] of likely.entries()) yield* likelyLines(index + 1, cause);
  }
  if (causes.length === 0)
    yield `  ${style.likely("unknown")}: no ${host.length > 0 ? "other " : ""}cause is written down${facts.errno === undefined ? "" : ` for ${facts.errno}`}`;
  for (const fact of host) yield `  host: ${fact}`;
  if (capture !== undefined) yield `  to be sure, look at: ${capture}`;
  if (certain.length === 0 && request !== undefined && facts.errno !== undefined)
    yield `  all causes: uvfio explain ${request} ${facts.errno}`;
}

function* certainLines({ cause, cure, evidence }: ToldCause, style: ExplainStyle) {
  yield `  ${style.certain("because")} ${cause}${evidence === undefined ? "" : ` (${evidence})`}`;
  yield `  cure: ${cure}`;
}

function* likelyLines(number: number, { cause, cure, tell, evidence }: ToldCause) {
  yield `    ${number}. ${cause}${evidence === undefined ? "" : ` (${evidence})`}`;
  if (tell !== undefined) yield `       to tell: ${tell}`;
  yield `       cure: ${cure}`;
}

function timesText({ line, count, lines, ranges }: Explanation["finding"]): string {
  const others = lines.filter((number) => number !== line.number).slice(0, 5);
  const more = count > others.length + 1 ? ", ..." : "";
  const times = count > 1 ? `also in line ${others.join(", ")}${more}` : "";
  const shownRanges = ranges.map(({ iova, size }) => `${hex(iova)}${size === undefined ? "" : ` + ${hex(size)}`}`);
  const which = ranges.length > 1 ? `ranges ${shownRanges.join(", ")}` : "";
  const both = [others.length > 0 ? times : "", which].filter((text) => text !== "");
  return both.length === 0 ? "" : ` (${both.join("; ")})`;
}

function* remarks(heading: string, list: readonly Explanation[], style: ExplainStyle) {
  if (list.length === 0) return;
  yield "";
  yield style.heading(heading);
  for (const { finding, says } of list.slice(0, REMARKS_MAX)) {
    const times = finding.count > 1 ? ` (${finding.count} times)` : "";
    yield `  line ${finding.line.number}: ${says}${times}`;
  }
  if (list.length > REMARKS_MAX) yield `  ... and ${list.length - REMARKS_MAX} more`;
}

function* unknownLines({ unknown }: LogExplanation, style: ExplainStyle) {
  if (unknown.length === 0) return;
  yield "";
  yield style.heading("about VFIO or the IOMMU, and unknown to uvfio");
  for (const { line, count } of unknown.slice(0, REMARKS_MAX))
    yield `  line ${line.number}: ${shown(line.text)}${count > 1 ? ` (${count} times)` : ""}`;
  if (unknown.length > REMARKS_MAX) yield `  ... and ${unknown.length - REMARKS_MAX} more`;
}

function shown(text: string): string {
  return printable(text.trim(), SHOWN_MAX);
}

const ABOUT: Readonly<Record<ExplainedReason["about"], string>> = {
  host: "the host and its settings",
  state: "who has what, and the order of calls",
  arguments: "the arguments: wrong on every host",
};

/** Why a request fails, for people. */
export function* requestReport(explanations: readonly RequestExplanation[], style: ExplainStyle): Generator<string> {
  for (const [index, { request, proposal, errno, number, reasons, host }] of explanations.entries()) {
    if (index > 0) yield "";
    const of = proposal === undefined ? "" : ` (${proposal})`;
    yield style.heading(`${request}${of} = ${errno} (${number})`);
    for (const about of ["host", "state", "arguments"] as const) {
      const here = reasons.filter((reason) => reason.about === about);
      if (here.length === 0) continue;
      yield `  ${style.likely(ABOUT[about])}`;
      for (const { reason, on, tell, cure } of here) {
        yield `    ${reason} [${on.join(", ")}]`;
        yield `      to tell: ${tell}`;
        yield `      cure: ${cure}`;
      }
    }
    for (const fact of host) yield `  host: ${fact}`;
  }
}

/** A log's explanation for programs. Addresses are hex text, as in other output. */
export function logJson({ explained, remarks, unknown, lines, dropped }: LogExplanation): unknown {
  const told = ({ finding, says, causes, host, capture, request }: Explanation) => ({
    line: finding.line.number,
    text: shown(finding.line.text),
    rule: finding.rule.id,
    kind: finding.kind,
    program: finding.rule.program,
    says,
    count: finding.count,
    lines: finding.lines,
    ...(finding.facts.errno !== undefined && { errno: finding.facts.errno, number: ERRNO[finding.facts.errno] }),
    ...(request !== undefined && { request }),
    ...(finding.facts.bdf !== undefined && { device: finding.facts.bdf }),
    ...(finding.facts.group !== undefined && { group: finding.facts.group }),
    ...(finding.ranges.length > 0 && {
      ranges: finding.ranges.map(({ iova, size }) => ({
        iova: hex(iova),
        ...(size !== undefined && { size: hex(size) }),
      })),
    }),
    causes,
    ...(host.length > 0 && { host }),
    ...(capture !== undefined && { capture }),
  });
  return {
    lines,
    explained: explained.map(told),
    remarks: remarks.map(told),
    unknown: unknown.map(({ line, count }) => ({ line: line.number, text: shown(line.text), count })),
    ...(dropped > 0 && { dropped }),
  };
}
