import { existsSync } from "node:fs";
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

/**
 * Where musl is there are two native modules to choose from, and the package does it: it looks into the file of node
 * itself, which takes as long as all the rest.
 */
const MUSL: Readonly<Record<string, string>> = { x64: "/lib/ld-musl-x86_64.so.1", arm64: "/lib/ld-musl-aarch64.so.1" };

/** The joined command has its own (scripts/start/package.mjs): node's module that makes one takes a while to load. */
const givenRequire = (globalThis as Record<symbol, unknown>)[Symbol.for("uvfio.require")] as NodeJS.Require | undefined;

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
  const require = givenRequire ?? createRequire(import.meta.url);
  const { platform, arch } = process;
  const name = `@koromix/koffi-${platform}-${arch}`;
  try {
    const musl = MUSL[arch];
    if (musl !== undefined && !existsSync(musl)) return require(`${name}/${platform}_${arch}/koffi.node`);
  } catch {
    // The package may find another one, or say better what is wrong.
  }
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
