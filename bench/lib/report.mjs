import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
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

/** docs/performance.md: the last run's ratios and what there is to say about them. */
export function writeDocument(results) {
  const table = [HEADS, HEADS.map(() => "---"), ...rows(results)].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  const sections = results.map(({ workload, details, skipped }) => {
    const { name, measures, baseline, explanation } = workload;
    const parts = [`## ${name}`, `Measured: ${measures}\\\nAgainst: ${baseline}`, explanation];
    if (skipped !== undefined) parts.push(`Skipped: ${skipped}`);
    return [...parts, ...(details ? [details] : [])].join("\n\n");
  });
  writeFileSync(file("docs/performance.md"), `${[INTRODUCTION, table, NOTES, ...sections].join("\n\n")}\n`);
}

const INTRODUCTION = `# Performance

\`npm run bench\` writes this page; \`npm run bench -- --long\` takes more rounds and larger sizes, \`npm run bench -- NAME...\` runs only the
figures whose names contain one of the names. Every figure is a ratio to a baseline that is built and run in the same session, both in turn;
no absolute time is a claim. "rounds" is the range of the ratio over single rounds: how much the machine disturbed. The same as JSON:
\`bench/results.json\`, which is not kept in the repository.`;

const NOTES = `Of the calls of a program under uvfio a ratio is the median of all rounds' medians, divided by that of the baseline; medians leave out
the first ten thousand calls, while V8 compiles. What is measured inside one process is the least of its rounds on both sides. The programs
are in \`bench/c\`, compiled with \`-O2\`; what runs in node in \`bench/inside\`; the workloads in \`bench/workloads\`. What needs a compiler
or a library that the machine does not have is skipped, and said to be.`;
