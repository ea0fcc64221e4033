import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const SRC = fileURLToPath(new URL("../../src/", import.meta.url));
const MACHINE = path.join(SRC, "machine");

const sources = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => ({ file: path.join(SRC, file), text: readFileSync(path.join(SRC, file), "utf8") }));

/** What a source imports when it is loaded: not what it only imports on demand, and not types. */
function importsOf(text: string): string[] {
  return [...text.matchAll(/^(?:import|export) (?!type )[^;]*?from "([^"]+)";/gms)].map((match) => match[1]!);
}

test("a ready-made host loads without the YAML reader and the fields of host files", () => {
  const seen = new Set<string>();
  const visit = (file: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    const source = sources.find((candidate) => candidate.file === file);
    for (const target of source ? importsOf(source.text) : [])
      visit(target.startsWith(".") ? path.resolve(path.dirname(file), target) : target);
  };
  visit(path.join(MACHINE, "load-host.ts"));
  expect(seen).toContain(path.join(MACHINE, "hosts/intel.ts"));
  expect(seen).toContain(path.join(SRC, "devices/kinds.ts"));
  expect(seen).not.toContain("yaml");
  expect(seen).not.toContain(path.join(MACHINE, "host-schema.ts"));
});
