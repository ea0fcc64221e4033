// A start of the command that writes down which modules it loads, by number and as JSON, to the file that LOADED names: scripts/join-modules.mjs puts these
// together. INDEX is filled in.
import { readFileSync, writeFileSync } from "node:fs";
import { joinedModules } from "./modules.mjs";

const { groups, starts } = JSON.parse(INDEX);
const text = readFileSync(`${__dirname}/command.js`);
const { load, modules } = joinedModules({
  groups,
  readText: (begin, length) => text.latin1Slice(begin, begin + length),
  compiledCode: () => undefined,
  otherwise: (id) => module.require(id),
  folder: __dirname,
});
process.once("exit", () => writeFileSync(process.env.LOADED, JSON.stringify(Object.keys(modules).map(Number))));
load(starts.main);
