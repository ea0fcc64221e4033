const STARTED = Symbol.for("uvfio.started");

/** A host is there and is served from now on. The command's start waits for that (scripts/start/optimizing.mjs). */
export function started(): void {
  (globalThis as { readonly [STARTED]?: () => void })[STARTED]?.();
}
