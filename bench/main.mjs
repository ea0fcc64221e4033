// npm run bench [-- NAME...]: compares uvfio with baselines that are built and run in the same session. With names, only the figures whose
// names contain one of them, and docs/performance.md stays as it is.
import { Programs } from "./lib/programs.mjs";
import { printTable, writeDocument, writeJson } from "./lib/report.mjs";
import { workloads as dmaCopy } from "./workloads/dma-copy.mjs";
import { workloads as mapMany } from "./workloads/map-many.mjs";
import { workloads as start } from "./workloads/start.mjs";
import { workloads as trappedCalls } from "./workloads/trapped-calls.mjs";
import { workloads as untrappedCalls } from "./workloads/untrapped-calls.mjs";

const all = [...trappedCalls, ...mapMany, ...dmaCopy, ...untrappedCalls, ...start];
const asked = process.argv.slice(2);
const chosen = asked.length === 0 ? all : all.filter(({ name }) => asked.some((part) => name.includes(part)));

const programs = new Programs();
try {
  const results = [];
  for (const workload of chosen) {
    process.stderr.write(`${workload.name} ...\n`);
    results.push({ workload, ...workload.run(programs) });
  }
  printTable(results);
  for (const { workload, details } of results) if (details) console.log(`\n${workload.name}\n\n${details}`);
  writeJson(results);
  if (chosen.length === all.length) writeDocument(results);
} finally {
  programs.remove();
}
