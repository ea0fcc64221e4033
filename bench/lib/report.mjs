import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SHORT_LIST } from "./short-list.mjs";
import { meets, targetText } from "./workload.mjs";

const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const HEADS = ["figure", "ratio", "rounds", "target", "reached"];

/** One line of the table for each result. */
function rows(results) {
  return results.map(({ workload: { name, target }, ratio, rounds, skipped }) =>
    skipped === undefined
      ? [name, number(ratio), roundsText(rounds), targetText(target), meets(target, ratio) ? "yes" : "no"]
      : [name, "", "", targetText(target), "skipped"],
  );
}

function roundsText(rounds) {
  return rounds.length < 2 ? "one" : `${number(Math.min(...rounds))} - ${number(Math.max(...rounds))}`;
}

function number(ratio) {
  return ratio.toFixed(Math.abs(ratio) < 0.095 ? 3 : 2);
}

export function printTable(results) {
  const lines = [HEADS, ...rows(results)];
  const widths = HEADS.map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  for (const line of lines)
    console.log(
      line
        .map((cell, column) => cell.padEnd(widths[column]))
        .join("  ")
        .trimEnd(),
    );
}

export function writeJson(results) {
  const entries = results.map(({ workload: { name, measures, baseline, target }, ratio, rounds, skipped }) => {
    const workload = { name, measures, baseline, target };
    return skipped === undefined
      ? { ...workload, ratio, rounds, reached: meets(target, ratio) }
      : { ...workload, skipped };
  });
  writeFileSync(file("bench/results.json"), `${JSON.stringify(entries, null, 2)}\n`);
}

/**
 * docs/performance.md, which is read in a minute, and docs/performance-details.md with all of the last run's ratios and
 * what there is to say about them.
 */
export function writeDocuments(results) {
  const byName = new Map(results.map((result) => [result.workload.name, result]));
  const parts = SHORT_LIST.map(({ title, rows: list }) => {
    const lines = list.map(({ figure, says }) => shortRow(says, byName.get(figure)));
    return [`## ${title}`, table([SHORT_HEADS, ...lines])].join("\n\n");
  });
  const missed = results.filter(
    ({ workload, ratio, skipped }) => skipped === undefined && !meets(workload.target, ratio),
  );
  const names = missed.map(({ workload }) => workload.name).join("; ");
  const note = missed.length === 0 ? "Every figure reached its target." : `Figures that missed their target: ${names}.`;
  write("docs/performance.md", [INTRODUCTION, ...parts, `${note} ${POINTER}`]);
  const sections = results.map(({ workload, details, skipped }) => {
    const { name, measures, baseline, explanation } = workload;
    const section = [`## ${name}`, `Measured: ${measures}\\\nAgainst: ${baseline}`, explanation];
    if (skipped !== undefined) section.push(`Skipped: ${skipped}`);
    return [...section, ...(details ? [details] : [])].join("\n\n");
  });
  write("docs/performance-details.md", [DETAILS, table([HEADS, ...rows(results)]), NOTES, ...sections]);
}

const SHORT_HEADS = ["", "ratio", "target"];

function shortRow(says, { workload, ratio, skipped }) {
  const { target } = workload;
  if (skipped !== undefined) return [says, "skipped", targetText(target)];
  return [says, number(ratio), `${targetText(target)}${meets(target, ratio) ? "" : ", missed"}`];
}

function table([heads, ...lines]) {
  return [heads, heads.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function write(path, parts) {
  writeFileSync(file(path), `${parts.join("\n\n")}\n`);
}

const INTRODUCTION = `# Performance

Every figure is a ratio to a baseline that is built and run in the same session, both in turn; no absolute time is a claim. \`npm run bench\`
writes this page.`;

const POINTER =
  "All figures, how far rounds of them lie apart, and where the time goes: [Performance in detail](performance-details.md).";

const DETAILS = `# Performance in detail

\`npm run bench\` writes this page and the [short one](performance.md); \`npm run bench -- --long\` takes more rounds and larger sizes,
\`npm run bench -- NAME...\` runs only the figures whose names contain one of the names. "rounds" is the range of the ratio over single rounds:
how much the machine disturbed. The same as JSON: \`bench/results.json\`, which is not kept in the repository.`;

const NOTES = `Of the calls of a program under uvfio a ratio is the median of all rounds' medians, divided by that of the baseline; medians leave out
the first ten thousand calls, while V8 compiles. What is measured inside one process is the least of its rounds on both sides. The programs
are in \`bench/c\`, compiled with \`-O2\`; what runs in node in \`bench/inside\`; the workloads in \`bench/workloads\`. What needs a compiler
or a library that the machine does not have is skipped, and said to be.`;
