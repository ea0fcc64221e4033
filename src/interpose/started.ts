const STARTED = Symbol.for("uvfio.started");

/** A host is served from now on. The command's start has put things off until then (scripts/start/later.mjs). */
export function started(): void {
  (globalThis as { readonly [STARTED]?: () => void })[STARTED]?.();
}
