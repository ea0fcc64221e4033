#!/usr/bin/env node
// Loads the joined modules of the command (scripts/join-modules.mjs), with the code that was compiled when they were joined if this is the same
// node; any other compiles them itself.
"use strict";
const fs = require("node:fs");
const { join } = require("node:path");
const { Script } = require("node:vm");

const compiled = join(__dirname, "command.compiled");
let cachedData;
try {
  cachedData = fs.readFileSync(compiled);
} catch {
  // it was never made, or is not part of this installation
}
const filename = join(__dirname, "command.js");
// scripts have no import() of their own: what loads a person's modules takes this one (devices/file-kinds.ts)
globalThis[Symbol.for("uvfio.import")] = (url) => import(url);
const command = new Script(fs.readFileSync(filename, "latin1"), { filename, cachedData });
if (process.env.UVFIO_COMPILE) process.once("exit", () => fs.writeFileSync(compiled, command.createCachedData()));
const wrapped = command.runInThisContext();
const modules = new Map();

/** A module of ours, or else a package or a part of node. */
function load(id) {
  if (!id.startsWith("./")) return require(id);
  const name = id.slice(2);
  let module = modules.get(name);
  if (module === undefined) {
    module = { exports: {} };
    modules.set(name, module);
    const filename = join(__dirname, name);
    const run =
      wrapped[name] ??
      new Script(fs.readFileSync(filename, "latin1"), { filename }).runInThisContext();
    run(module.exports, load, module, filename, __dirname);
  }
  return module.exports;
}

load("./main.js");
