import { Script } from "node:vm";
import { compiledAsUsual } from "./later.mjs";

/**
 * Runs joined modules (scripts/joined/join.mjs).
 * @param groups of the index of the joined file
 * @param readText what is there: its begin and length
 * @param compiledCode a group as V8 has compiled it before, undefined for none
 * @param otherwise loads a package or a part of node
 * @param folder where they are said to lie
 * @returns `load`, which loads one by its number, and each only once; `scripts`, the groups that were compiled so far, by name;
 * `modules`, what was loaded so far, by number
 */
export function joinedModules({ groups, readText, compiledCode, otherwise, folder }) {
  const scripts = new Map();
  const modules = [];
  const namespaces = new Map();
  const filename = `${folder}/main.js`;

  function load(id) {
    const loaded = modules[id];
    return loaded === undefined ? first(id) : loaded.exports;
  }

  function first(id) {
    if (typeof id === "string") return namespace(id);
    const module = { exports: {} };
    const run = functionOf(id);
    modules[id] = module;
    try {
      run(module.exports, load, module, filename);
    } catch (error) {
      // Who asks again is to hear why, and not to get half a module.
      modules[id] = undefined;
      throw error;
    }
    return module.exports;
  }

  /** Modules are numbered through all groups. */
  function functionOf(id) {
    let start = 0;
    for (const group of groups) {
      const size = group[3];
      if (id < start + size) {
        group.functions ??= compile(...group).runInThisContext();
        return group.functions[id - start];
      }
      start += size;
    }
    throw new Error(`there is no module ${id}`);
  }

  function compile(name, begin, length) {
    // The name that V8 keeps with compiled code is none of this machine: another installation of the same build may use it.
    const options = { filename: `uvfio:${name}`, cachedData: compiledCode(name) };
    const script = compiledAsUsual(() => new Script(readText(begin, length), options));
    scripts.set(name, script);
    return script;
  }

  /** What `import` gives of a module that is none of ours: its exports by their names, and all of them as `default`. */
  function namespace(id) {
    let made = namespaces.get(id);
    if (made === undefined) {
      const exported = otherwise(id);
      made = Object.create(exported, { default: { value: exported } });
      namespaces.set(id, made);
    }
    return made;
  }

  return { load, scripts, modules };
}

/** Of what it takes to run a program on the usual host; on another one a few modules have nothing to do. */
const SHARE = 0.9;

/**
 * Whether a program was run. A run that only says what is wrong with its command line compiles next to nothing: that is not worth to be kept in the
 * place of what the next run needs.
 */
export function hasRun(modules, [[, , , firstModules]]) {
  let loaded = 0;
  for (let id = 0; id < firstModules; id++) if (modules[id] !== undefined) loaded++;
  return loaded >= SHARE * firstModules;
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
