import type { Koffi } from "./c-functions.ts";
import { loadKoffi, NativeModuleError } from "./load-koffi.ts";

export { NativeModuleError };

/** Loaded with this file: for parts that cannot do anything without. */
export const koffi: Koffi = loadKoffi();
