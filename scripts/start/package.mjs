// The start of the command in an installed package or a checkout: BUILD and INDEX are filled in when the modules are joined.
import { closeSync, openSync, readSync } from "node:fs";
import { createRequire } from "node:module";
import { codeCache } from "./code-cache.mjs";
import { compiledGroups } from "./compiled.mjs";
import { joinedModules, saidPlainly } from "./modules.mjs";

// joined modules have no import() of their own: what loads a person's modules takes this one (src/devices/file-kinds.ts)
globalThis[Symbol.for("uvfio.import")] = (url) => import(url);
const cache = codeCache(BUILD);
const compiled = compiledGroups(cache?.read());
const { load, scripts } = joinedModules({
  groups: INDEX.groups,
  readText,
  compiledCode: compiled.code,
  otherwise: createRequire(__filename),
  folder: __dirname,
});
process.once("exit", () => {
  const updated = cache && compiled.updated(scripts);
  if (updated) cache.write(updated);
});
saidPlainly(() => load(INDEX.starts.main));

/** A descriptor is no longer open than it takes: those that are belong to the program that is run. */
function readText(begin, length) {
  const fd = openSync(`${__dirname}/command.js`, "r");
  try {
    const bytes = Buffer.allocUnsafeSlow(length);
    for (let done = 0; done < length; ) {
      const count = readSync(fd, bytes, done, length - done, begin + done);
      if (count === 0) throw new Error("command.js is cut off: install uvfio anew");
      done += count;
    }
    return bytes.latin1Slice();
  } finally {
    closeSync(fd);
  }
}
