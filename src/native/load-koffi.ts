import { createRequire } from "node:module";
import type { Koffi } from "./c-functions.ts";
import { carried } from "./carried.ts";

/** The machine code that uvfio makes system calls with is not there, or not for this machine. */
export class NativeModuleError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "NativeModuleError";
  }
}

let loaded: Koffi | undefined;

/**
 * koffi's native module, without the package koffi around it: that one has an install script (it compiles where nothing
 * is prebuilt), which package managers warn of or do not run, and takes longer to load than the native module itself.
 * The prebuilt modules are packages of their own, optional ones, of which a package manager takes the one for the
 * machine.
 * @throws NativeModuleError when there is none
 */
export function loadKoffi(): Koffi {
  loaded ??= carried?.koffi ?? prebuilt();
  return loaded;
}

/** @throws NativeModuleError when there is none: one line for the person who installed uvfio */
function prebuilt(): Koffi {
  const require = createRequire(import.meta.url);
  const name = `@koromix/koffi-${process.platform}-${process.arch}`;
  try {
    return require(name);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new NativeModuleError(
      code === "MODULE_NOT_FOUND"
        ? `the package ${name} is missing: install uvfio on the kind of machine that it runs on, without --omit=optional`
        : `the package ${name} cannot be loaded: ${message.split("\n")[0]}`,
    );
  }
}
