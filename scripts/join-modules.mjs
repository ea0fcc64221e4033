// Runs behind tsc: makes of dist/cli, which works as well, only slower, dist/command: its modules joined (scripts/joined/join.mjs), with a start of
// their own (scripts/start/package.mjs). The library's modules stay as they are. Makes the manual page, too.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dist, firstModules, joined, joinModules, joinStart } from "./joined/join.mjs";

const main = join(joined, "main.js");
const entries = { main: join(dist, "cli/main.js") };

rmSync(joined, { recursive: true, force: true });
mkdirSync(joined);
writeFileSync(join(joined, "package.json"), '{ "type": "commonjs" }\n');
writeFileSync(firstModules, JSON.stringify(await loadedByRun()));
const { text, index, build } = await joinModules(entries, false, JSON.parse(readFileSync(firstModules, "utf8")));
writeFileSync(join(joined, "command.js"), text);
writeFileSync(main, `#!/usr/bin/env node\n${await joinStart("package.mjs", { BUILD: build, INDEX: index })}`);
chmodSync(main, 0o755);

const page = spawnSync(process.execPath, [main, "man"], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
if (page.status !== 0) throw new Error(`the manual page cannot be made (status ${page.status})`);
mkdirSync(join(dist, "man"), { recursive: true });
writeFileSync(join(dist, "man/uvfio.1"), page.stdout);

/** The modules that `uvfio run` loads to run a program. None where none can be run: then they are by folder, and a start takes longer. */
async function loadedByRun() {
  const { text, index, names } = await joinModules(entries, false, []);
  writeFileSync(join(joined, "command.js"), text);
  writeFileSync(main, await joinStart("recording.mjs", { INDEX: index }));
  const list = join(joined, "loaded");
  const env = { ...process.env, LOADED: list };
  const run = spawnSync(process.execPath, [main, "run", "--", "true"], { env, encoding: "utf8" });
  try {
    if (run.status === 0) return JSON.parse(readFileSync(list, "utf8")).map((number) => names[number]);
    console.error(`uvfio's start is not arranged, because no program can be run here: ${run.stderr.trim()}`);
    return [];
  } finally {
    rmSync(list, { force: true });
  }
}
