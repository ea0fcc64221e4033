import type { FoundDevice } from "../../machine/find-device.ts";
import { adviceOn } from "./advice.ts";
import { readable } from "./error-table.ts";
import {
  type Finding,
  type FindingCollector,
  type JudgedCause,
  judgedCauses,
  type NamedRange,
  requestOf,
  tableCauses,
  type UnknownLine,
} from "./findings.ts";
import { devicesOf, type HostAnswer, type HostOracle, hostFacts } from "./host-view.ts";
import type { CallName } from "./rule.ts";

/** A cause as it is told: its placeholders are filled in. */
export interface ToldCause {
  readonly sureness: "certain" | "likely";
  readonly cause: string;
  readonly cure: string;
  readonly tell?: string;
  /** What makes it certain, when not the line itself. */
  readonly evidence?: string;
}

/** A line of the log, and what it means. */
export interface Explanation {
  readonly finding: Finding;
  readonly says: string;
  readonly causes: readonly ToldCause[];
  /** What the captured host says to it, a line each. */
  readonly host: readonly string[];
  /** What to look at when no cause is certain. */
  readonly capture?: string;
  /** For more: `uvfio explain REQUEST ERRNO`. */
  readonly request?: string;
}

/** Groups of a host that are asked about one line. */
const GROUPS_MAX = 16;

/** All that a log says. */
export interface LogExplanation {
  readonly explained: readonly Explanation[];
  /** Lines that follow from others, and lines that sound worse than they are. */
  readonly remarks: readonly Explanation[];
  readonly unknown: readonly UnknownLine[];
  /** Lines of the log. */
  readonly lines: number;
  /** Findings that were too many to keep. */
  readonly dropped: number;
}

/** What was collected, explained; in the terms of a host when one is given. */
export function explainFindings(
  collector: FindingCollector,
  lines: number,
  host: HostOracle | undefined,
): LogExplanation {
  const all = collector.findings;
  const named = new Set(all.flatMap(({ facts, kind }) => (kind === "failure" && facts.bdf ? [facts.bdf] : [])));
  const explain = (finding: Finding) => explanation(finding, all, named, host);
  const failures = all.filter(({ kind }) => kind === "failure");
  // what only follows from something else counts where that is not in the log
  const first = failures.length > 0 ? failures : all.filter(({ kind }) => kind === "consequence");
  return {
    explained: first.map(explain),
    remarks: all.filter((finding) => !first.includes(finding)).map(explain),
    unknown: collector.unknown,
    lines,
    dropped: collector.dropped,
  };
}

/** @param named devices that failures of the log name */
function explanation(
  finding: Finding,
  all: readonly Finding[],
  named: ReadonlySet<string>,
  host: HostOracle | undefined,
): Explanation {
  const { rule, facts } = finding;
  const tell = filler(finding);
  const request = requestOf(finding);
  const judged = judgedCauses(finding, all);
  const view = host && finding.kind === "failure" ? hostSays(finding, named, host) : undefined;
  const told = view === undefined ? judged.map((cause) => toldCause(cause, tell)) : withHost(judged, view, tell);
  // where the host has ruled out all that was written down, the table would only say it again
  const causes = told.length > 0 || judged.length > 0 ? told : fromTable(request, finding);
  const isSure = causes.some(({ sureness }) => sureness === "certain");
  return {
    finding,
    says: tell(rule.says),
    causes,
    host: view?.lines ?? [],
    ...(!isSure && rule.capture !== undefined && { capture: tell(rule.capture) }),
    ...(request !== undefined && facts.errno !== undefined && { request }),
  };
}

function toldCause({ sureness, cause, cure, tell, evidence }: JudgedCause, fill: (text: string) => string): ToldCause {
  return {
    sureness,
    cause: fill(cause),
    cure: fill(cure),
    ...(tell !== undefined && { tell: fill(tell) }),
    ...(evidence !== undefined && { evidence }),
  };
}

/** Fills in {names}, N for the group and BDF for the device of commands, where the line says which. */
function filler({ facts, rule }: Finding): (text: string) => string {
  const { bdf, group, captured } = facts;
  return (text) => {
    const filled = text.replace(/\{(\w+)\}/g, (_, name: string) => {
      const value = captured[name] ?? (name === "bdf" ? bdf : undefined);
      return value?.trim() ?? "";
    });
    const devices = bdf === undefined ? filled : filled.replace(/\bBDF\b/g, bdf);
    const groups = group === undefined ? devices : devices.replace(/(?<=vfio\/|iommu_groups\/)N\b/g, String(group));
    return (
      groups
        .replace(/ \(\s*\)/g, "")
        .replace(/\s{2,}/g, " ")
        .replace(/ ([,;:])/g, "$1")
        .trim() || rule.id
    );
  };
}

/** Causes of a request for which none are written down: what the table of errors has. */
function fromTable(request: string | undefined, { facts }: Finding): ToldCause[] {
  if (request === undefined || facts.errno === undefined) return [];
  const rows = tableCauses(request, facts.errno).map(({ reason, errno }) => ({ reason, ...adviceOn(reason, errno) }));
  const order = ["host", "state", "arguments"];
  rows.sort((a, b) => order.indexOf(a.about) - order.indexOf(b.about));
  return rows.map(({ reason, tell, cure }) => ({ sureness: "likely", cause: readable(reason), cure, tell }));
}

interface HostSaying {
  readonly lines: readonly string[];
  /** The host, asked, fails as the line says: why. */
  readonly certain: readonly { readonly reason: string; readonly errno: string; readonly of: string }[];
  /** The host takes what the line is about. */
  readonly takes: boolean;
}

function hostSays(finding: Finding, named: ReadonlySet<string>, host: HostOracle): HostSaying | undefined {
  const call = finding.rule.ask ?? finding.call;
  if (call === undefined) return undefined;
  const { name } = host.description;
  const devices = devicesOf(host.description, finding.facts, named);
  if (devices.length === 0) {
    const which = finding.facts.bdf ?? "a device that VFIO has";
    return { lines: [`${name} has not ${which}: is it the host of this log?`], certain: [], takes: false };
  }
  const needsRange = call === "map" || call === "ioas-map";
  const ranges: readonly (NamedRange | undefined)[] = needsRange ? finding.ranges : [undefined];
  const answers = groupsOf(devices).flatMap((group) => ranges.map((range) => host.ask(call, group, range)));
  // a mapping was refused to a device that has come so far: groups that do not are not meant
  const asked = answers.flatMap((answer) => (answer && (!needsRange || isAboutMapping(answer)) ? [answer] : []));
  const failing = asked.filter((answer) => isSame(answer, finding, call));
  // what only some of the devices or ranges meet is no certain cause of a line that names none of them
  const isCertain = failing.length > 0 && (failing.length === asked.length || namesDevice(finding, named));
  const reasons = [...new Map(failing.map((answer) => [answer.reason, answer])).values()];
  const took = asked.filter(({ kind }) => kind === "succeeds").length;
  const others = new Set(
    asked.flatMap((answer) =>
      answer.kind === "fails" && !(isCertain && failing.includes(answer))
        ? [`${name}, asked in the model, fails: ${answer.at} = ${answer.errno}: ${answer.reason}`]
        : [],
    ),
  );
  const lines = [...others, ...(took > 0 ? [tookText(name, took, asked.length, needsRange)] : [])];
  return {
    lines: [...lines, ...factLines(host, call, devices)],
    certain: isCertain ? reasons.map(({ reason, errno }) => ({ reason, errno, of: name })) : [],
    takes: took > 0 && took === asked.length,
  };
}

function tookText(name: string, took: number, asked: number, needsRange: boolean): string {
  const part = took === asked ? "" : ` in ${took} of ${asked} cases (ranges, groups)`;
  return needsRange
    ? `${name} takes the mapping${part}: if it is the host of this log, no address was in the way`
    : `on ${name}, as it was captured, this succeeds${part}: something was otherwise then`;
}

/** Each group by itself: which of them a line is about that names no device, nobody knows. */
function groupsOf(devices: readonly FoundDevice[]): readonly (readonly FoundDevice[])[] {
  const ids = [...new Set(devices.map(({ group }) => group.id))];
  return ids.slice(0, GROUPS_MAX).map((id) => devices.filter(({ group }) => group.id === id));
}

function namesDevice({ facts }: Finding, named: ReadonlySet<string>): boolean {
  return facts.bdf !== undefined || facts.group !== undefined || named.size === 1;
}

function isAboutMapping(answer: HostAnswer): boolean {
  return answer.kind === "succeeds" || answer.at === "VFIO_IOMMU_MAP_DMA";
}

type Failing = Extract<HostAnswer, { kind: "fails" }>;

function isSame(answer: HostAnswer, { facts, rule }: Finding, call: CallName): answer is Failing {
  if (answer.kind !== "fails") return false;
  // a rule that names a state and no errno: the host is in it, or it is not
  return facts.errno === undefined || answer.errno === facts.errno || (rule.ask === call && rule.errno === undefined);
}

function factLines(host: HostOracle, call: CallName, devices: readonly FoundDevice[]): readonly string[] {
  return hostFacts(host.description, call, devices).slice(0, 8);
}

function withHost(judged: readonly JudgedCause[], view: HostSaying, fill: (text: string) => string): ToldCause[] {
  const certain = view.certain.map(({ reason, errno, of }): ToldCause => {
    const { cure, tell } = adviceOn(reason, errno as Parameters<typeof adviceOn>[1]);
    return { sureness: "certain", cause: reason, cure, tell, evidence: `${of}, asked in the model, answers so` };
  });
  const rest = judged.filter((cause) => !(view.takes && cause.byHost)).map((cause) => toldCause(cause, fill));
  if (certain.length === 0) return rest;
  // the same in the host's terms: its reason, and the cure that the line's rule has
  const [only] = rest;
  if (certain.length === 1 && rest.length === 1 && only!.sureness === "certain" && only!.evidence === undefined)
    return [{ ...only!, cause: certain[0]!.cause, evidence: certain[0]!.evidence! }];
  // what the line itself says stays, and what the host says comes first
  return [...certain, ...rest.filter(({ sureness }) => sureness === "certain")];
}
