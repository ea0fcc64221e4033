import { test } from "vitest";
import { parseOperations } from "../../../src/inspect/replay/recording.ts";
import { replay } from "../../../src/inspect/replay/replay.ts";
import { Recorder } from "../../../src/inspect/trace/recorder.ts";
import { watchKernel } from "../../../src/inspect/watch/watch-kernel.ts";
import { Host } from "../../../src/iommufd/host.ts";
import { loadHost } from "../../../src/machine/load-host.ts";
import { RandomCaller } from "./random-caller.ts";

test("categories", async () => {
  const found = new Map<string, any>();
  for (const [name, options] of [
    ["lab", {}],
    ["lab-nesting", {}],
    ["pseries", {}],
    ["power9", {}],
    ["test/programs/vsva.yaml", { api: "vsva-v1" }],
    ["test/programs/vsva.yaml", { api: "vsva-v7" }],
    ["test/programs/vsva.yaml", { api: "rfc-2017" }],
  ] as const)
    for (let seed = 1; seed <= Number(process.env.N ?? 6); seed++) {
      const description = await loadHost(name, options);
      const lines: string[] = [];
      const recorder = new Recorder({
        pageSize: description.pageSize,
        encoding: description.arch === "ppc64le" ? "powerpc" : "plain",
        write: (line) => lines.push(JSON.stringify(line)),
      });
      const host = new Host(description, { watch: recorder.model });
      watchKernel(host, [recorder], (m) => {
        const k = "BROKEN " + m.slice(0, 300);
        found.set(k, { n: (found.get(k)?.n ?? 0) + 1 });
      });
      const caller = new RandomCaller(host, seed);
      for (let step = 0; step < 3000; step++) caller.step();
      caller.end();
      recorder.end();
      let r;
      try {
        r = replay(description, parseOperations(lines.join("\n"), "trace"));
      } catch (e) {
        found.set(`${name} ${seed} ${(e as Error).stack}`, { n: 1 });
        continue;
      }
      const d = r.different[0];
      if (d) {
        const k = `${d.operation.op} ${(d.operation as any).req ?? ""} ${d.field} ${d.recorded.slice(0, 20)} ${d.ours.slice(0, 20)} ${d.reason}`;
        const e = found.get(k) ?? {
          n: 0,
          where: `${name} ${JSON.stringify(options)} ${seed} of ${r.different.length}/${r.calls}: ${lines
            .slice(d.line - 4, d.line)
            .map((l) => l.slice(0, 700))
            .join("\n   ")}`,
        };
        e.n++;
        found.set(k, e);
      }
    }
  for (const [k, v] of found) console.log(v.n, k, "\n  ", v.where);
}, 600000);
