// Runs behind tsc: makes of dist/cli, which works as well, only slower, dist/command: its modules joined (scripts/joined/join.mjs), with a start of
// their own (scripts/start/package.mjs). The library's modules stay as they are. Makes the manual page, too.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dist, joined, joinModules, joinStart } from "./joined/join.mjs";

rmSync(joined, { recursive: true, force: true });
mkdirSync(joined);
const { files, build } = await joinModules({ main: join(dist, "cli/main.js") }, false);
for (const [name, text] of files) writeFileSync(join(joined, name), text);
writeFileSync(join(joined, "package.json"), '{ "type": "commonjs" }\n');
const main = join(joined, "main.js");
writeFileSync(main, `#!/usr/bin/env node\n${await joinStart("package.mjs", { BUILD: build })}`);
chmodSync(main, 0o755);

const page = spawnSync(process.execPath, [main, "man"], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
if (page.status !== 0) throw new Error(`the manual page cannot be made (status ${page.status})`);
mkdirSync(join(dist, "man"), { recursive: true });
writeFileSync(join(dist, "man/uvfio.1"), page.stdout);
