// The start of the command in an installed package or a checkout: BUILD is filled in when the modules are joined.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { codeCache } from "./code-cache.mjs";
import { joinedModules, saidPlainly } from "./modules.mjs";

// joined modules have no import() of their own: what loads a person's modules takes this one (src/devices/file-kinds.ts)
globalThis[Symbol.for("uvfio.import")] = (url) => import(url);
const cache = codeCache(BUILD);
const compiled = cache?.read();
const { load, command } = joinedModules({
  readFile: (name) => readFileSync(join(__dirname, name), "latin1"),
  compiled,
  otherwise: createRequire(__filename),
  folder: __dirname,
});
if (cache && (compiled === undefined || command.cachedDataRejected))
  process.once("exit", () => cache.write(command.createCachedData()));
saidPlainly(() => load("./main.js"));
