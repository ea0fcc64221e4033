import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { meets, targetText } from "./workload.mjs";

const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const HEADS = ["figure", "ratio", "rounds", "target", "reached"];

/** One line of the table for each result. */
function rows(results) {
  return results.map(({ workload: { name, target }, ratio, rounds }) => [
    name,
    ratio.toFixed(2),
    `${Math.min(...rounds).toFixed(2)} - ${Math.max(...rounds).toFixed(2)}`,
    targetText(target),
    meets(target, ratio) ? "yes" : "no",
  ]);
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
  const entries = results.map(({ workload: { name, measures, baseline, target }, ratio, rounds }) => {
    return { name, measures, baseline, target, ratio, rounds, reached: meets(target, ratio) };
  });
  writeFileSync(file("bench/results.json"), `${JSON.stringify(entries, null, 2)}\n`);
}

/** docs/performance.md: the last run's ratios and what there is to say about them. */
export function writeDocument(results) {
  const table = [HEADS, HEADS.map(() => "---"), ...rows(results)].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  const sections = results.map(({ workload, details }) => {
    const { name, measures, baseline, explanation } = workload;
    const parts = [`## ${name}`, `Measured: ${measures}\\\nAgainst: ${baseline}`, explanation];
    return [...parts, ...(details ? [details] : [])].join("\n\n");
  });
  writeFileSync(file("docs/performance.md"), `${[INTRODUCTION, table, NOTES, ...sections].join("\n\n")}\n`);
}

const INTRODUCTION = `# Performance

\`npm run bench\` writes this page. Every figure is a ratio to a baseline that is built and run in the same session, both in turn; no
absolute time is a claim. "rounds" is the range of the ratio over single rounds: how much the machine disturbed.`;

const NOTES = `A ratio is the median of all rounds' medians under uvfio, divided by that of the baseline. The programs are in \`bench/c\`,
compiled with \`-O2\`; the workloads in \`bench/workloads\`. Medians of calls leave out the first ten thousand, while V8 compiles.`;
