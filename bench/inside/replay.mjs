// replay.mjs: every recording in test/recordings replayed on a host of its own and compared, and the texts of the same parsed as JSON.
import { readdirSync, readFileSync } from "node:fs";
import { brotliDecompressSync } from "node:zlib";
import { parseOperations } from "../../dist/inspect/replay/recorded-calls.js";
import { replay } from "../../dist/inspect/replay/replay.js";
import { parseHost } from "../../dist/machine/parse-host.js";
import { answer, timed } from "./model.mjs";

const folder = new URL("../../test/recordings/", import.meta.url);
const machines = readdirSync(folder)
  .filter((name) => name.endsWith(".json.br"))
  .map((name) => JSON.parse(brotliDecompressSync(readFileSync(new URL(name, folder))).toString()));

let scenarios = 0;
let calls = 0;
let different = 0;
const time = timed(() => {
  for (const { host, scenarios: texts } of machines) {
    const description = parseHost(host, "host.json");
    for (const [name, text] of Object.entries(texts)) {
      const result = replay(description, parseOperations(text, name));
      scenarios++;
      calls += result.calls;
      different += result.different.length;
    }
  }
});
const parse = timed(() => {
  for (const { scenarios: texts } of machines)
    for (const text of Object.values(texts)) for (const line of text.split("\n")) if (line !== "") JSON.parse(line);
});
answer({ time, parse, scenarios, calls, different });
