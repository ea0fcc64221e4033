import { readdirSync, readFileSync } from "node:fs";
import { brotliDecompressSync } from "node:zlib";
import type { Operation } from "../../src/inspect/replay/operation.ts";
import { parseOperations } from "../../src/inspect/replay/recorded-calls.ts";
import type { HostDescription } from "../../src/machine/host-description.ts";
import { parseHost } from "../../src/machine/parse-host.ts";

/** A machine's recorded scenarios, packed by scripts/pack-recordings.mjs. */
export interface Bundle {
  readonly host: HostDescription;
  readonly scenarios: readonly { readonly name: string; operations(): readonly Operation[] }[];
}

export function bundleNames(): string[] {
  return readdirSync(new URL(".", import.meta.url))
    .filter((file) => file.endsWith(".json.br"))
    .map((file) => file.replace(".json.br", ""));
}

/** The texts in a bundle: host.json, and the recordings by name. */
export function unpackBundle(name: string): { readonly host: string; readonly scenarios: Record<string, string> } {
  const packed = readFileSync(new URL(`./${name}.json.br`, import.meta.url));
  return JSON.parse(brotliDecompressSync(packed).toString());
}

export function readBundle(name: string): Bundle {
  const { host, scenarios } = unpackBundle(name);
  return {
    host: parseHost(host, `${name}/host.json`),
    scenarios: Object.entries(scenarios).map(([scenario, text]) => ({
      name: scenario,
      operations: () => parseOperations(text, `${name}/${scenario}.jsonl`),
    })),
  };
}
