// Runs behind tsc: makes of dist/cli, which works as well, only slower, dist/command: its modules joined (scripts/joined/join.mjs), with a start of
// their own (scripts/start/package.mjs). The library's modules stay as they are. Makes the manual page, too.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dist, firstModules, helpTexts, joined, joinModules, joinStart, version } from "./joined/join.mjs";

const main = join(joined, "main.js");
/** A build leaves nothing in its user's home. */
const withoutCache = { ...process.env, XDG_CACHE_HOME: "/dev/null" };
const entries = { main: join(dist, "cli/main.js") };

rmSync(joined, { recursive: true, force: true });
mkdirSync(joined);
writeFileSync(join(joined, "package.json"), '{ "type": "commonjs" }\n');
writeFileSync(firstModules, JSON.stringify(await loadedByRun()));
const { text, index, build } = await joinModules(entries, false, JSON.parse(readFileSync(firstModules, "utf8")));
writeFileSync(join(joined, "command.js"), text);
writeFileSync(
  main,
  `#!/usr/bin/env node\n${await joinStart("package.mjs", { BUILD: build, INDEX: JSON.stringify(index), VERSION: version })}`,
);
chmodSync(main, 0o755);

mkdirSync(join(dist, "man"), { recursive: true });
const page = printed("man");
writeFileSync(join(dist, "man/uvfio.1"), page);
mkdirSync(helpTexts);
writeFileSync(join(helpTexts, "uvfio.txt"), printed("--help"));
for (const [, command] of page.matchAll(/^\.SS "uvfio ([a-z\\-]+)/gm)) {
  const name = command.replaceAll("\\", "");
  writeFileSync(join(helpTexts, `${name}.txt`), printed(name, "--help"));
}

function printed(...args) {
  const stdio = ["ignore", "pipe", "inherit"];
  const made = spawnSync(process.execPath, [main, ...args], { encoding: "utf8", stdio, env: withoutCache });
  if (made.status !== 0) throw new Error(`uvfio ${args.join(" ")} prints nothing (status ${made.status})`);
  return made.stdout;
}

/** The modules that `uvfio run` loads to run a program. None where none can be run: then they are by folder, and a start takes longer. */
async function loadedByRun() {
  const { text, index, names } = await joinModules(entries, false, []);
  writeFileSync(join(joined, "command.js"), text);
  writeFileSync(main, await joinStart("recording.mjs", { INDEX: JSON.stringify(index) }));
  const list = join(joined, "loaded");
  const env = { ...withoutCache, LOADED: list };
  const run = spawnSync(process.execPath, [main, "run", "--", "true"], { env, encoding: "utf8" });
  try {
    if (run.status === 0) return JSON.parse(readFileSync(list, "utf8")).map((number) => names[number]);
    console.error(`uvfio's start is not arranged, because no program can be run here: ${run.stderr.trim()}`);
    return [];
  } finally {
    rmSync(list, { force: true });
  }
}
