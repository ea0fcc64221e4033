// Joins modules of dist/ into one file of functions, as node wraps modules, with an index of it; scripts/start/modules.mjs runs them. node takes longer
// to find, read and compile hundreds of small modules than to do all the rest, and a program waits for it.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { join, posix, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { lazyModule } from "./lazy.mjs";

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const dist = join(root, "dist");
/** Where the joined modules lie: a module that asks where it lies itself is told by its way from here. */
export const joined = join(dist, "command");
/** What `--help` of each command prints, and of all. */
export const helpTexts = join(joined, "help");
export const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
/** Names of the modules that the command's start needs, as JSON. */
export const firstModules = join(dist, ".first-modules");
/** Modules for require(): the loader of import takes a fifth of node's own start, and cannot take compiled code. */
const FORMAT = "cjs";
/** The group of what a program waits for. */
const FIRST = "first";

/**
 * @param entries name of each entry and its file in dist/
 * @param withPackages whether packages are joined in as well
 * @param first names of modules that are read and compiled together, before all others; the others are by folder
 * @returns `text`, the joined modules; `index`, where groups of modules are in it (`groups`: name, begin, length, number of modules), and the number
 * of each entry (`starts`); `names` of the modules, by number; `build`, what tells this build from others
 */
export async function joinModules(entries, withPackages, first) {
  const groups = new Map([[FIRST, []]]);
  const isFirst = new Set(first);
  for (const module of await modulesOf(entries, withPackages)) {
    const group = isFirst.has(module.fileName) ? FIRST : posix.dirname(module.fileName);
    groups.set(group, [...(groups.get(group) ?? []), module]);
  }
  const names = [...groups.values()].flat().map(({ fileName }) => fileName);
  const numbers = new Map(names.map((name, number) => [name, number]));
  const numberOf = (name) => {
    const number = numbers.get(name);
    if (number === undefined) throw new Error(`${name} is no joined module`);
    return number;
  };
  let text = "";
  const places = [];
  for (const [group, modules] of groups) {
    const functions = modules.map(
      ({ fileName: name, code }) =>
        `function (exports, require, module, __filename) { // ${name}\n${inAscii(lazyModule(code, name, numberOf))}\n}`,
    );
    const joined = `[\n${functions.join(",\n")}\n]\n`;
    places.push([group, text.length, joined.length, modules.length]);
    text += joined;
  }
  const starts = Object.fromEntries(Object.keys(entries).map((name) => [name, numberOf(`${name}.js`)]));
  const build = createHash("sha256").update(text).digest("hex").slice(0, 32);
  return { text, index: { groups: places, starts }, names, build };
}

async function modulesOf(entries, withPackages) {
  const bundle = await rolldown({
    input: entries,
    platform: "node",
    plugins: [ownPlace(withPackages)],
    logLevel: "warn",
  });
  const { output } = await bundle.generate({
    format: FORMAT,
    preserveModules: true,
    preserveModulesRoot: dist,
    entryFileNames: "[name].js",
    comments: false,
  });
  await bundle.close();
  return output;
}

/** The file is read as it stands, a character a byte. */
function inAscii(code) {
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A start of scripts/start/ as one script, with values for the words in `known`. */
export async function joinStart(name, known) {
  const bundle = await rolldown({
    input: fileURLToPath(new URL(`../start/${name}`, import.meta.url)),
    platform: "node",
    external: (id) => isBuiltin(id),
    transform: {
      define: Object.fromEntries(Object.entries(known).map(([word, value]) => [word, JSON.stringify(value)])),
    },
  });
  // node compiles it with each start: nothing of it is kept.
  const { output } = await bundle.generate({ format: FORMAT, comments: false, minify: true });
  await bundle.close();
  return output[0].code;
}

function ownPlace(withPackages) {
  const isOwn = (id) => /^[./]/.test(id);
  return {
    name: "own-place",
    resolveId: (id, importer) => {
      if (importer === undefined || isOwn(id)) return null;
      return withPackages && !isBuiltin(id) ? null : { id, external: true };
    },
    transform: (code, id) =>
      id.startsWith(dist)
        ? code
            .replace(/^#!.*/, "")
            .replaceAll("import.meta.url", ownUrl(relative(joined, resolve(id))))
            .replaceAll("import.meta.filename", ownPath(relative(joined, resolve(id))))
        : null,
  };
}

function ownPath(path) {
  return `__filename.replace(/[^/]*$/, ${JSON.stringify(path)})`;
}

function ownUrl(path) {
  return `new URL(${JSON.stringify(path.startsWith(".") ? path : `./${path}`)}, import.meta.url).href`;
}
