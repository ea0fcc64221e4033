// Joins modules of dist/ into few files of functions, as node wraps modules; scripts/start/modules.mjs runs them. node takes longer to find, read and
// compile two hundred small modules than to do all the rest, and a program waits for it.
import { createHash } from "node:crypto";
import { isBuiltin } from "node:module";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const dist = join(root, "dist");
/** Where the joined modules lie: a module that asks where it lies itself is told by its way from here. */
export const joined = join(dist, "command");
/** Modules for require(): the loader of import takes a fifth of node's own start, and cannot take compiled code. */
const FORMAT = "cjs";

/**
 * @param entries name of each entry and its file in dist/; what the first one needs at once becomes one file
 * @param withPackages whether packages are joined in as well
 * @returns the files by name, and what tells this build from others
 */
export async function joinModules(entries, withPackages) {
  const bundle = await rolldown({
    input: entries,
    platform: "node",
    plugins: [ownPlace(withPackages)],
    logLevel: "warn",
  });
  const { output } = await bundle.generate({
    format: FORMAT,
    entryFileNames: "[name].js",
    chunkFileNames: "[hash].js",
    comments: false,
  });
  await bundle.close();
  const chunks = new Map(output.map((chunk) => [chunk.fileName, chunk]));
  const always = new Set();
  const need = (name) => {
    if (always.has(name)) return;
    always.add(name);
    for (const other of chunks.get(name).imports) if (chunks.has(other)) need(other);
  };
  need(`${Object.keys(entries)[0]}.js`);
  const wrapped = (name) => `function (exports, require, module, __filename, __dirname) {${chunks.get(name).code}\n}`;
  const together = [...always].map((name) => `${JSON.stringify(name)}: ${wrapped(name)}`);
  const files = new Map([["command.js", `({\n${together.join(",\n")}\n})\n`]]);
  for (const name of chunks.keys()) if (!always.has(name)) files.set(name, `(${wrapped(name)})\n`);
  const hash = createHash("sha256");
  for (const [name, text] of files) hash.update(`${name}\0${text}\0`);
  return { files, build: hash.digest("hex").slice(0, 32) };
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
  const { output } = await bundle.generate({ format: FORMAT, comments: false });
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
        ? code.replace(/^#!.*/, "").replaceAll("import.meta.url", ownUrl(relative(joined, resolve(id))))
        : null,
  };
}

function ownUrl(path) {
  return `new URL(${JSON.stringify(path.startsWith(".") ? path : `./${path}`)}, import.meta.url).href`;
}
