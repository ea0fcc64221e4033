import { Script } from "node:vm";

/**
 * Runs joined modules (scripts/joined/join.mjs): returns what loads one by its name, "./main.js", and each only once.
 * @param readFile the text of a joined file by its name, and where it lies
 * @param compiled the code of command.js as V8 has compiled it before, if there is any
 * @param otherwise loads a package or a part of node
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

  /** Joined files are all ASCII. */
  function script(name, cachedData) {
    return new Script(readFile(name), { filename: `${folder}/${name}`, cachedData });
  }

  return { load, command };
}
