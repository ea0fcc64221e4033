// Joins the modules of the command into few files: node takes longer to find and read two hundred small modules than to compile
// them, and a program waits for it. Runs behind tsc and puts the joined modules in the place of their entries in dist/, so that nothing
// needs to know: without this step all works as well, only slower. The library's modules stay as they are.
import { readdirSync, rmSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const dist = fileURLToPath(new URL("../dist", import.meta.url));

/** One for each process or thread that has modules of its own. */
const ENTRIES = ["cli/main.js", "cli/run-worker.js", "interpose/launcher.js"];

for (const folder of new Set(ENTRIES.map(dirname))) {
  const path = join(dist, folder);
  for (const name of readdirSync(path)) if (name.startsWith("joined-")) rmSync(join(path, name));
}
for (const entry of ENTRIES) {
  const input = join(dist, entry);
  const bundle = await rolldown({ input, platform: "node", plugins: [ownPlace(dirname(input))], logLevel: "warn" });
  // What is loaded on demand becomes files of its own beside the entry.
  await bundle.write({ dir: dirname(input), chunkFileNames: "joined-[hash].js", comments: false });
}

/** Packages stay imports. A module that asks where it lies is told where it did lie. */
function ownPlace(folder) {
  return {
    name: "own-place",
    resolveId: (id, importer) => (importer === undefined || /^[./]/.test(id) ? null : { id, external: true }),
    transform: (code, id) => code.replaceAll("import.meta.url", ownUrl(relative(folder, resolve(id)))),
  };
}

function ownUrl(path) {
  return `new URL(${JSON.stringify(path.startsWith(".") ? path : `./${path}`)}, import.meta.url).href`;
}
