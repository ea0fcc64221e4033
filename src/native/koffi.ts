import { createRequire } from "node:module";
import { carried } from "./carried.ts";

/** A C function: pointers are addresses or views of memory, 64-bit integers numbers where they are exact. */
export interface CFunction {
  // biome-ignore lint/suspicious/noExplicitAny: what goes in and out is said by the prototype, a text
  (...args: any[]): any;
  /** The same in another thread; the last argument is called with the error or the result. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly async: (...args: any[]) => void;
}

/** What of koffi (koffi.dev, 3.x) is used here. */
export interface Koffi {
  /** A shared library; null is what this process has loaded already, the C library among it. */
  load(path: null): {
    func(prototype: string): CFunction;
    func(name: string, result: string, args: readonly string[]): CFunction;
  };
  /** Memory outside of V8's heap for `length` elements. */
  alloc(type: string, length: number): CPointer;
  address(pointer: CPointer): bigint;
  /** `length` bytes of memory as they are, not a copy. */
  view(pointer: CPointer | number | bigint, length: number): ArrayBuffer;
  decode(pointer: CPointer, type: string): unknown;
  /** Of the last call in this thread. */
  errno(): number;
}

export interface CPointer {
  readonly __brand: "CPointer";
}

/** The machine code that uvfio makes system calls with is not there, or not for this machine. */
export class NativeModuleError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "NativeModuleError";
  }
}

/**
 * koffi's native module, without the package koffi around it: that one has an install script (it compiles where nothing is prebuilt), which package
 * managers warn of or do not run, and takes longer to load than the native module itself. The prebuilt modules are packages of their own,
 * optional ones, of which a package manager takes the one for the machine.
 */
export const koffi: Koffi = carried?.koffi ?? prebuilt();

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
