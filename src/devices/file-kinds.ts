import { readFileSync } from "node:fs";
import { register } from "node:module";
import { pathToFileURL } from "node:url";
import { carried } from "../native/carried.ts";
import { contained, failureOf } from "./contained-model.ts";
import type { PciDeviceKind } from "./kind.ts";

/** A file that holds no kind of device; the message says why in a line. */
export class KindFileError extends Error {
  override readonly name = "KindFileError";
}

/** Kinds that were loaded from files, by absolute path: what a description calls them. */
const loaded = new Map<string, PciDeviceKind>();

/** The kind that was loaded from a file; undefined for other names. */
export function kindOfFile(path: string): PciDeviceKind | undefined {
  return loaded.get(path);
}

const IMPORT = Symbol.for("uvfio.import");
let kitIsKnown = false;

/**
 * Loads a kind of device: what the module has as its default export. It may import "uvfio/device" wherever it lies.
 * @param path absolute
 */
export async function loadKind(path: string): Promise<PciDeviceKind> {
  const known = loaded.get(path);
  if (known) return known;
  knowKit();
  const kind = checked(await importFile(path));
  loaded.set(path, kind);
  return kind;
}

type Import = (url: string) => Promise<{ readonly default?: unknown }>;

/** The joined command cannot say import() itself, and leaves one here (scripts/start/package.mjs). */
function importModule(url: string): ReturnType<Import> {
  const given = (globalThis as { readonly [IMPORT]?: Import })[IMPORT];
  if (carried) throw new KindFileError("the single executable loads no modules: install the package for that");
  return given ? given(url) : import(url);
}

async function importFile(path: string): Promise<unknown> {
  try {
    readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new KindFileError(code === "ENOENT" ? "no such file" : `cannot be read: ${code}`);
  }
  try {
    return (await importModule(pathToFileURL(path).href)).default;
  } catch (error) {
    throw error instanceof KindFileError ? error : new KindFileError(failureOf(error), { cause: error });
  }
}

function checked(kind: unknown): PciDeviceKind {
  if (typeof kind !== "object" || kind === null)
    throw new KindFileError("has no default export that is a kind of device (export default defineDevice({ ... }))");
  const { bus, create, config, devices } = kind as Partial<Record<string, unknown>>;
  if (bus !== "pci" || typeof create !== "function" || config === undefined || !Array.isArray(devices))
    throw new KindFileError("its default export is no kind of PCI device (export default defineDevice({ ... }))");
  return contained(kind as PciDeviceKind);
}

/** Modules outside of any package of uvfio's find the kit: that of this installation. */
function knowKit(): void {
  if (kitIsKnown) return;
  kitIsKnown = true;
  const kit = JSON.stringify(new URL("../devices/kit.js", import.meta.url).href);
  const hooks = `export async function resolve(name, context, next) {
    return name === "uvfio/device" ? { url: ${kit}, shortCircuit: true } : next(name, context);
  }`;
  register(`data:text/javascript,${encodeURIComponent(hooks)}`);
}
