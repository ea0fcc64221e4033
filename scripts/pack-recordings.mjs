// Packs folders of recorded calls (MACHINE/host.json, MACHINE/*.jsonl) into test/recordings/MACHINE.json.br, one file a machine:
// { host: the text of host.json, scenarios: { name: the text of its .jsonl } }.
// node scripts/pack-recordings.mjs FOLDER_WITH_MACHINES [MACHINE...]
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";

const [root, ...wanted] = process.argv.slice(2);
if (!root) {
  console.error("usage: node scripts/pack-recordings.mjs FOLDER_WITH_MACHINES [MACHINE...]");
  process.exit(2);
}
const machines = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
for (const { name } of machines) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const folder = join(root, name);
  const files = readdirSync(folder).filter((file) => file.endsWith(".jsonl"));
  const scenarios = Object.fromEntries(
    files.sort().map((file) => [file.replace(/\.jsonl$/, ""), readFileSync(join(folder, file), "utf8")]),
  );
  const bundle = JSON.stringify({ host: readFileSync(join(folder, "host.json"), "utf8"), scenarios });
  const packed = brotliCompressSync(bundle, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 10, [constants.BROTLI_PARAM_LGWIN]: 24 },
  });
  writeFileSync(new URL(`../test/recordings/${name}.json.br`, import.meta.url), packed);
  console.log(`${name}: ${files.length} scenarios, ${bundle.length} bytes packed into ${packed.length}`);
}
