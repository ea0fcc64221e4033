// The start of the command in an installed package or a checkout: BUILD, INDEX and VERSION are filled in when the modules are joined.
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { codeCache, isRun } from "./code-cache.mjs";
import { compiledGroups } from "./compiled.mjs";
import { goOn, putOff } from "./later.mjs";
import { hasRun, joinedModules, saidPlainly } from "./modules.mjs";
import { printedText } from "./texts.mjs";

/** For the text of what every command needs, and for compiled code. */
const ROOM = 0x200000;

if (!printedText(process.argv.slice(2), VERSION, readHelp)) start();

function start() {
  const { groups, starts } = JSON.parse(INDEX);
  // joined modules have no import() of their own: what loads a person's modules takes this one (src/devices/file-kinds.ts)
  globalThis[Symbol.for("uvfio.import")] = (url) => import(url);
  globalThis[Symbol.for("uvfio.require")] = require;
  // Memory that nobody has used before takes longer to come by than what is read to it: it is used twice.
  const room = Buffer.allocUnsafeSlow(ROOM);
  const [, begin, length] = groups[0];
  const first = readText(begin, length, room);
  const cache = codeCache(BUILD);
  const compiled = compiledGroups(cache?.read(room));
  const { load, scripts, modules } = joinedModules({
    groups,
    readText: (at, size) => (at === begin ? first : readText(at, size, Buffer.allocUnsafeSlow(size))),
    compiledCode: compiled.code,
    otherwise: (id) => module.require(id),
    folder: __dirname,
  });
  process.once("exit", () => {
    goOn();
    if (cache === undefined || (isRun() && !hasRun(modules, groups))) return;
    const updated = compiled.updated(scripts);
    if (updated) cache.write(updated);
  });
  putOff();
  saidPlainly(() => load(starts.main));
}

/** A descriptor is no longer open than it takes: those that are belong to the program that is run. */
function readText(begin, length, room) {
  const fd = openSync(`${__dirname}/command.js`, "r");
  try {
    const bytes = length <= room.length ? room : Buffer.allocUnsafeSlow(length);
    for (let done = 0; done < length; ) {
      const count = readSync(fd, bytes, done, length - done, begin + done);
      if (count === 0) throw new Error("command.js is cut off: install uvfio anew");
      done += count;
    }
    return bytes.latin1Slice(0, length);
  } finally {
    closeSync(fd);
  }
}

function readHelp(command) {
  try {
    return readFileSync(`${__dirname}/help/${command}.txt`, "utf8");
  } catch {
    return undefined;
  }
}
