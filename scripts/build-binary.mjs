// npm run build:binary [-- --arch arm64] [--output FILE]: makes one executable of the built command, node and koffi's native module, for a machine
// without node: node's own way (https://nodejs.org/api/single-executable-applications.html). For this machine's architecture it is the
// node that runs this; for the other one the same version from npm.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import postject from "postject";
import { dist, firstModules, helpTexts, joinModules, joinStart, root, version } from "./joined/join.mjs";

class NotBuilt extends Error {}

const FUSE = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";
const ARCHITECTURES = ["x64", "arm64"];

const { values } = parseArgs({ options: { arch: { type: "string" }, output: { type: "string" } } });
const { arch = process.arch } = values;
const output = resolve(values.output ?? join(root, `binary/uvfio-linux-${arch}`));
const isOwn = arch === process.arch;
const scratch = mkdtempSync(join(tmpdir(), "uvfio-binary-"));
try {
  await build();
} catch (error) {
  console.error(error instanceof NotBuilt ? `build:binary: ${error.message}` : error);
  process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

async function build() {
  if (!ARCHITECTURES.includes(arch)) fail(`--arch ${arch}: there are ${ARCHITECTURES.join(" and ")}`);
  const node = isOwn ? process.execPath : fromNpm("node", `node-linux-${arch}@${process.version.slice(1)}`, "bin/node");
  if (!readFileSync(node).includes(`${FUSE}:0`))
    fail(`${node} cannot carry a program (it is no official build): use another node`);
  const koffi = `linux_${arch}/koffi.node`;
  const { optionalDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const name = `@koromix/koffi-linux-${arch}`;
  const native = isOwn
    ? join(dirname(createRequire(import.meta.url).resolve(name)), koffi)
    : fromNpm("koffi", `${name}@${optionalDependencies[name]}`, koffi);

  const entries = {
    main: join(dist, "cli/main.js"),
    "guard-main": join(dist, "interpose/launch/guard-main.js"),
  };
  const { text, index, build } = await joinModules(entries, true, JSON.parse(readFileSync(firstModules, "utf8")));
  const assets = { "koffi.node": native };
  for (const name of readdirSync(join(dist, "view"))) assets[`view-${name}`] = join(dist, "view", name);
  for (const name of readdirSync(helpTexts)) assets[`help-${name.replace(/\.txt$/, "")}`] = join(helpTexts, name);
  assets["command.js"] = write("command.js", text);
  const main = write(
    "start.js",
    await joinStart("binary.mjs", { BUILD: build, INDEX: JSON.stringify(index), VERSION: version }),
  );

  mkdirSync(dirname(output), { recursive: true });
  await put(node, main, assets);
  if (isOwn) await putCompiled(node, main, assets);
  console.log(output);
}

/** Its first runs make compiled code, which it then carries: one for another machine makes it there. */
async function putCompiled(node, main, assets) {
  const cache = join(scratch, "cache");
  const env = { ...process.env, NODE_OPTIONS: "", XDG_CACHE_HOME: cache };
  const firstRuns = [["run", "--", "true"], ["run", "-m", "intel", "--", "true"], ["man"]];
  for (const args of firstRuns) spawnSync(output, args, { env, stdio: "ignore" });
  for (const file of readdirSync(join(cache, "uvfio")))
    assets[`compiled-${file.split("-").at(-1)}`] = join(cache, "uvfio", file);
  await put(node, main, assets);
}

/** Writes the executable: node with the program in it. */
async function put(node, main, assets) {
  const blob = join(scratch, "blob");
  const config = write("sea.json", JSON.stringify({ main, output: blob, assets, disableExperimentalSEAWarning: true }));
  const made = spawnSync(process.execPath, ["--experimental-sea-config", config], { encoding: "utf8" });
  if (made.status !== 0) fail(`node does not take the program: ${made.stderr}`);
  // A new file: an old one may be running.
  rmSync(output, { force: true });
  copyFileSync(node, output);
  await postject.inject(output, "NODE_SEA_BLOB", readFileSync(blob), { sentinelFuse: FUSE });
  chmodSync(output, 0o755);
}

function write(name, text) {
  const path = join(scratch, name);
  writeFileSync(path, text);
  return path;
}

/** A file of a package for another architecture than this one, which npm would not install. */
function fromNpm(folder, spec, file) {
  const into = join(scratch, folder);
  mkdirSync(into);
  const packed = spawnSync("npm", ["pack", "--silent", "--prefer-offline", spec], { cwd: into, encoding: "utf8" });
  if (packed.status !== 0) fail(`${spec} cannot be had: ${packed.stderr.trim().split("\n")[0]}`);
  spawnSync("tar", ["-xzf", packed.stdout.trim()], { cwd: into, stdio: "inherit" });
  return join(into, "package", file);
}

function fail(message) {
  throw new NotBuilt(message);
}
