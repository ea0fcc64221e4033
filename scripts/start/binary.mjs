// The start of the single executable (scripts/build-binary.mjs): what an installed package has in files is in the executable itself. BUILD, INDEX
// and VERSION are filled in when it is built.
import { getRawAsset } from "node:sea";
import { loadCarried } from "./carried-koffi.mjs";
import { codeCache, isRun, startKind } from "./code-cache.mjs";
import { compiledGroups } from "./compiled.mjs";
import { goOn, putOff } from "./later.mjs";
import { hasRun, joinedModules, saidPlainly } from "./modules.mjs";
import { printedText } from "./texts.mjs";

/** As src/native/own-program.ts has it. */
const PART = "--uvfio-part=";

if (!printedText(process.argv.slice(2), VERSION, (command) => asset(`help-${command}`)?.toString())) saidPlainly(start);

function start() {
  const { groups, starts } = JSON.parse(INDEX);
  const koffi = loadCarried(new Uint8Array(getRawAsset("koffi.node")));
  const page = (name) => Buffer.from(getRawAsset(`view-${name}`)).toString("utf8");
  globalThis[Symbol.for("uvfio.carried")] = { koffi, version: VERSION, page };

  let entry = "main";
  if (process.argv[2]?.startsWith(PART)) entry = process.argv.splice(2, 1)[0].slice(PART.length);
  const carried = asset(`compiled-${startKind()}`);
  const cache = carried === undefined ? codeCache(BUILD) : undefined;
  const compiled = compiledGroups(carried ?? cache?.read(Buffer.alloc(0)));
  const text = Buffer.from(getRawAsset("command.js"));
  const { load, scripts, modules } = joinedModules({
    groups,
    readText: (begin, length) => text.latin1Slice(begin, begin + length),
    compiledCode: compiled.code,
    otherwise: require,
    folder: "/",
  });
  process.once("exit", () => {
    goOn();
    if (cache === undefined || (isRun() && !hasRun(modules, groups))) return;
    const updated = compiled.updated(scripts);
    if (updated) cache.write(updated);
  });
  putOff();
  load(starts[entry]);
}

function asset(name) {
  try {
    return Buffer.from(getRawAsset(name));
  } catch {
    return undefined;
  }
}
