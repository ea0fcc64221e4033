// Joins the modules of the command into few files and compiles them beforehand: node takes longer to find, read and compile two hundred
// small modules than to do all the rest, and a program waits for it. Runs behind tsc and makes dist/command of dist/cli, which works as well, only
// slower. The library's modules stay as they are.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const cli = join(dist, "cli");
/** Modules for require(): the loader of import takes a fifth of node's own start, and cannot take compiled code. */
const FORMAT = "cjs";

const joined = join(dist, "command");
rmSync(joined, { recursive: true, force: true });
const bundle = await rolldown({
  input: join(cli, "main.js"),
  platform: "node",
  plugins: [ownPlace()],
  logLevel: "warn",
});
const { output } = await bundle.generate({
  format: FORMAT,
  entryFileNames: "main.js",
  chunkFileNames: "[hash].js",
  comments: false,
});
const chunks = new Map(output.map((chunk) => [chunk.fileName, chunk]));
// What the entry needs at once is one file, and what is loaded on demand a file each.
const always = new Set();
need("main.js");
mkdirSync(joined);
const together = [...always].map((name) => `${JSON.stringify(name)}: ${wrapped(name)}`);
writeFileSync(join(joined, "command.js"), `({\n${together.join(",\n")}\n})\n`);
for (const name of chunks.keys()) if (!always.has(name)) writeFileSync(join(joined, name), `(${wrapped(name)})\n`);
writeFileSync(join(joined, "package.json"), '{ "type": "commonjs" }\n');
copyFileSync(fileURLToPath(new URL("joined-main.cjs", import.meta.url)), join(joined, "main.js"));
// The first run makes the compiled code of what it needed. Where no program can be run, it is the code up to there.
spawnSync(process.execPath, [join(joined, "main.js"), "run", "--", "true"], {
  env: { ...process.env, UVFIO_COMPILE: "1" },
  stdio: "ignore",
});

function need(name) {
  if (always.has(name)) return;
  always.add(name);
  for (const other of chunks.get(name).imports) if (chunks.has(other)) need(other);
}

/** As node wraps a module; scripts/joined-main.cjs calls it. */
function wrapped(name) {
  return `function (exports, require, module, __filename, __dirname) {${chunks.get(name).code}\n}`;
}

/** Packages stay packages. A module that asks where it lies is told where it did lie. */
function ownPlace() {
  return {
    name: "own-place",
    resolveId: (id, importer) => (importer === undefined || /^[./]/.test(id) ? null : { id, external: true }),
    transform: (code, id) =>
      id.startsWith(dist)
        ? code.replace(/^#!.*/, "").replaceAll("import.meta.url", ownUrl(relative(joined, resolve(id))))
        : null,
  };
}

function ownUrl(path) {
  return `new URL(${JSON.stringify(path.startsWith(".") ? path : `./${path}`)}, import.meta.url).href`;
}
