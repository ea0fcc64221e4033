import { printable } from "../kernel/printable.ts";
import type { FitAnswer } from "../library/fit/answer.ts";
import { answerFit, type GuestOptions } from "../library/fit/answer-fit.ts";
import { type FleetRow, judgeFleet } from "../library/fit/fleet.ts";
import { expandHosts, namesMany } from "../library/fit/host-files.ts";
import { type HostOverrides, loadHost } from "../machine/load-host.ts";
import { hasColours } from "./colours.ts";
import { EXIT_USAGE } from "./errors.ts";
import { complain, printLine } from "./output.ts";

/** As the command line has them: all of them text. */
export interface FitOptions extends HostOverrides, Omit<GuestOptions, "devices"> {
  /** Hosts, each judged by itself; the default one when left out. */
  readonly machine?: readonly string[];
  readonly device?: readonly string[];
  readonly explain?: boolean;
  readonly json?: boolean;
}

/**
 * `uvfio fit`: a report for one host, a table for several. Exit status 0 when the guest fits every host that is named,
 * 1 when it does not, 2 when a host cannot be read.
 */
export async function fitCommand(options: FitOptions): Promise<number> {
  const { machine = [], kernel, api, device, explain = false, json = false, ...rest } = options;
  const guest = { ...rest, ...(device && { devices: device }) };
  const overrides = { kernel, api };
  if (machine.length > 1 || machine.some(namesMany))
    return fleet(judgeFleet(guest, expandHosts(machine), overrides), json);
  const answer = answerFit(guest, await loadHost(machine[0], overrides));
  printAnswer(answer, explain, json);
  return answer.result.fits ? 0 : 1;
}

function printAnswer(answer: FitAnswer, explain: boolean, json: boolean): void {
  if (json) printLine(JSON.stringify(answer, null, 2));
  else for (const line of answer.report({ coloured: hasColours(1), explain })) printLine(line);
}

async function fleet(rows: AsyncGenerator<FleetRow>, json: boolean): Promise<number> {
  const shown: FleetRow[] = [];
  let isBroken = false;
  let fits = true;
  for await (const row of rows) {
    fits &&= row.verdict === "fits" || row.verdict === "fits-if";
    if (row.verdict === "unreadable") {
      isBroken = true;
      complain(row.reasons.length > 1 ? `${row.reasons[0]} (and ${row.reasons.length - 1} more)` : row.reasons[0]!);
    }
    if (json) printLine(JSON.stringify(row));
    else if (row.verdict !== "unreadable") shown.push({ ...row, host: printable(row.host, NAME_MAX) });
  }
  if (!json) printTable(shown);
  if (isBroken) return EXIT_USAGE;
  return fits ? 0 : 1;
}

/** Characters of a host's name in the table. */
const NAME_MAX = 60;
const WORDS: Readonly<Record<FleetRow["verdict"], string>> = {
  fits: "fits",
  "fits-if": "fits if",
  "does-not-fit": "does not fit",
  unreadable: "unreadable",
};
/** SGR codes. */
const COLOURS: Readonly<Record<FleetRow["verdict"], number>> = {
  fits: 32,
  "fits-if": 33,
  "does-not-fit": 31,
  unreadable: 31,
};

/** A line for each host, and one that counts them. */
function printTable(rows: readonly FleetRow[]): void {
  const coloured = hasColours(1);
  const nameWidth = Math.max(4, ...rows.map(({ host }) => host.length));
  const verdictWidth = Math.max(...Object.values(WORDS).map((word) => word.length));
  printLine(`${"HOST".padEnd(nameWidth)}  ${"VERDICT".padEnd(verdictWidth)}  GiB     WHY`);
  for (const row of rows) {
    const word = WORDS[row.verdict].padEnd(verdictWidth);
    const memory = (row.memory_gib === undefined ? "-" : String(Math.round(row.memory_gib * 100) / 100)).padEnd(6);
    const verdict = coloured ? `\x1b[${COLOURS[row.verdict]}m${word}\x1b[0m` : word;
    printLine(`${row.host.padEnd(nameWidth)}  ${verdict}  ${memory}  ${why(row)}`.trimEnd());
  }
  const counts = (["fits", "fits-if", "does-not-fit"] as const)
    .map((verdict) => ({ verdict, count: rows.filter((row) => row.verdict === verdict).length }))
    .filter(({ count }) => count > 0)
    .map(({ verdict, count }) => `${WORDS[verdict]}: ${count}`);
  const shapes = new Set(rows.map(({ shape }) => shape)).size;
  printLine();
  printLine(`${rows.length} hosts of ${shapes} ${shapes === 1 ? "shape" : "shapes"}; ${counts.join(", ")}`);
}

/** The first reason or condition, and how many there are beside it. */
function why({ reasons, conditions }: FleetRow): string {
  const all = [...reasons, ...conditions];
  return all.length > 1 ? `${all[0]} (and ${all.length - 1} more)` : (all[0] ?? "");
}
