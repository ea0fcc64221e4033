import { Script } from "node:vm";

/**
 * Runs joined modules (scripts/joined/join.mjs): returns what loads one by its name, "./main.js", and each only once.
 * @param readFile the text of a joined file by its name
 * @param compiled the code of command.js as V8 has compiled it before, if there is any
 * @param otherwise loads a package or a part of node
 * @param folder where they are said to lie
 */
export function joinedModules({ readFile, compiled, otherwise, folder }) {
  const command = script("command.js", compiled);
  const wrapped = command.runInThisContext();
  const modules = new Map();

  function load(id) {
    if (!id.startsWith("./")) return otherwise(id);
    const name = id.slice(2);
    let module = modules.get(name);
    if (module === undefined) {
      module = { exports: {} };
      modules.set(name, module);
      const run = wrapped[name] ?? script(name).runInThisContext();
      run(module.exports, load, module, `${folder}/${name}`, folder);
    }
    return module.exports;
  }

  /** The name that V8 keeps with compiled code is none of this machine: another installation of the same build may use it. */
  function script(name, cachedData) {
    return new Script(readFile(name), { filename: `uvfio:${name}`, cachedData });
  }

  return { load, command };
}

/** Runs what starts the command. What keeps modules from being loaded at all is said here: they say everything else themselves. */
export function saidPlainly(start) {
  try {
    start();
  } catch (error) {
    if (error.name !== "NativeModuleError") throw error;
    process.stderr.write(`uvfio: ${error.message}\n`);
    process.exitCode = 2;
  }
}
