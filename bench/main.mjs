// npm run bench [-- --long] [NAME...]: compares uvfio with baselines that are built and run in the same session. --long takes more rounds and
// larger sizes. With names, only the figures whose names contain one of them, and docs/performance.md and docs/performance-details.md stay as they are.
import { NotHere, Programs } from "./lib/programs.mjs";
import { printTable, writeDocuments, writeJson } from "./lib/report.mjs";
import { SHORT_LIST } from "./lib/short-list.mjs";
import { workloads as areas } from "./workloads/areas.mjs";
import { workloads as dirtyBitmap } from "./workloads/dirty-bitmap.mjs";
import { workloads as dmaCopy } from "./workloads/dma-copy.mjs";
import { workloads as doorbell } from "./workloads/doorbell.mjs";
import { workloads as intervalMap } from "./workloads/interval-map.mjs";
import { workloads as invalidation } from "./workloads/invalidation.mjs";
import { workloads as manyMappings } from "./workloads/many-mappings.mjs";
import { workloads as manyProcesses } from "./workloads/many-processes.mjs";
import { workloads as mapMany } from "./workloads/map-many.mjs";
import { workloads as mapUnmap } from "./workloads/map-unmap.mjs";
import { workloads as named } from "./workloads/named.mjs";
import { workloads as nestedWalk } from "./workloads/nested-walk.mjs";
import { workloads as network } from "./workloads/network.mjs";
import { workloads as nvme } from "./workloads/nvme.mjs";
import { workloads as replay } from "./workloads/replay.mjs";
import { workloads as spapr } from "./workloads/spapr.mjs";
import { workloads as start } from "./workloads/start.mjs";
import { workloads as traces } from "./workloads/traces.mjs";
import { workloads as translation } from "./workloads/translation.mjs";
import { workloads as trappedCalls } from "./workloads/trapped-calls.mjs";
import { workloads as untrappedCalls } from "./workloads/untrapped-calls.mjs";
import { workloads as vfioUser } from "./workloads/vfio-user.mjs";

const all = [
  ...intervalMap,
  ...mapUnmap,
  ...manyMappings,
  ...areas,
  ...translation,
  ...nestedWalk,
  ...dmaCopy,
  ...doorbell,
  ...nvme,
  ...network,
  ...vfioUser,
  ...dirtyBitmap,
  ...invalidation,
  ...spapr,
  ...named,
  ...trappedCalls,
  ...manyProcesses,
  ...traces,
  ...mapMany,
  ...untrappedCalls,
  ...start,
  ...replay,
];
const args = process.argv.slice(2);
const names = args.filter((arg) => arg !== "--long");
const chosen = names.length === 0 ? all : all.filter(({ name }) => names.some((part) => name.includes(part)));

for (const name of names) {
  if (all.some((workload) => workload.name.includes(name))) continue;
  console.error(
    `bench: no figure has "${name}" in its name: npm run bench -- [--long] [NAME...], names as docs/performance-details.md has them`,
  );
  process.exit(2);
}

for (const { figure } of SHORT_LIST.flatMap(({ rows }) => rows))
  if (!all.some(({ name }) => name === figure)) throw new Error(`bench/lib/short-list.mjs: no figure "${figure}"`);

const programs = new Programs({ long: args.includes("--long") });
try {
  const results = [];
  for (const workload of chosen) {
    process.stderr.write(`${workload.name} ...\n`);
    results.push({ workload, ...(await outcome(workload)) });
  }
  printTable(results);
  for (const { workload, details } of results) if (details) console.log(`\n${workload.name}\n\n${details}`);
  writeJson(results);
  if (chosen.length === all.length) writeDocuments(results);
} finally {
  programs.remove();
}

/** What was measured, or why it could not be. */
async function outcome(workload) {
  try {
    return await workload.run(programs);
  } catch (error) {
    if (!(error instanceof NotHere)) throw error;
    process.stderr.write(`  skipped: ${error.message}\n`);
    return { skipped: error.message };
  }
}
