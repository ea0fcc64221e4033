// The start of the single executable (scripts/build-binary.mjs): what an installed package has in files is in the executable itself. BUILD and VERSION
// are filled in when it is built.
import { getRawAsset } from "node:sea";
import { loadCarried } from "./carried-koffi.mjs";
import { codeCache, startKind } from "./code-cache.mjs";
import { joinedModules, saidPlainly } from "./modules.mjs";

/** As src/native/own-program.ts has it. */
const PART = "--uvfio-part=";

saidPlainly(() => {
  const koffi = loadCarried(new Uint8Array(getRawAsset("koffi.node")));
  const page = (name) => Buffer.from(getRawAsset(`view-${name}`)).toString("utf8");
  globalThis[Symbol.for("uvfio.carried")] = { koffi, version: VERSION, page };

  let entry = "./main.js";
  if (process.argv[2]?.startsWith(PART)) entry = `./${process.argv.splice(2, 1)[0].slice(PART.length)}.js`;
  const carried = asset(`compiled-${startKind()}`);
  const cache = carried === undefined ? codeCache(BUILD) : undefined;
  const compiled = carried ?? cache?.read();
  const { load, command } = joinedModules({
    readFile: (name) => Buffer.from(getRawAsset(name)).toString("latin1"),
    compiled,
    otherwise: require,
    folder: "/",
  });
  if (cache && (compiled === undefined || command.cachedDataRejected))
    process.once("exit", () => cache.write(command.createCachedData()));
  load(entry);
});

function asset(name) {
  try {
    return new Uint8Array(getRawAsset(name));
  } catch {
    return undefined;
  }
}
