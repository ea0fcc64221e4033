import { expect, test } from "vitest";
import { Host } from "../../src/host/host.ts";
import { loadHost } from "../../src/machine/load-host.ts";
import { amount } from "../amount.ts";
import { RandomCaller } from "../inspect/trace/random-caller.ts";

/** `npm run fuzz` sets these. Calls on all hosts together; the first host's seed, from which all follow. */
const CALLS = amount("UVFIO_FUZZ_CALLS", 40_000, 400_000);
const SEED = Number(process.env.UVFIO_SEED ?? 1);

const HOSTS = [
  ["lab", {}],
  ["lab-nesting", {}],
  ["power9", {}],
  ["pseries", {}],
  ["test/programs/vsva.yaml", { api: "vsva-v1" }],
  ["test/programs/vsva.yaml", { api: "vsva-v7" }],
  ["test/programs/vsva.yaml", { api: "rfc-2017" }],
] as const;
/** A defect of the kernel that the model has (src/vfio/spapr/defects.ts): bytes that stay locked memory. */
const LEAKED_CHARGE = /the (0x[0-9a-f]+) bytes charged for it stay locked memory/;
/** Calls of one host, which then ends: what was found can be repeated without all that came before. */
const EPISODE = 20_000;
const LIMIT_MS = 120_000 + CALLS;

test.each(HOSTS)(
  "random calls break nothing and leave nothing held: %s %j",
  async (name, options) => {
    const description = await loadHost(name, options);
    const episodes = Math.ceil(CALLS / HOSTS.length / EPISODE);
    const start = performance.now();
    let calls = 0;
    for (let episode = 0; episode < episodes; episode++) {
      const seed = SEED + episode;
      let leaked = 0;
      const onWarning = (message: string) => {
        leaked += Number(LEAKED_CHARGE.exec(message)?.[1] ?? 0);
      };
      const host = new Host(description, { onWarning });
      const callers = [new RandomCaller(host, seed), new RandomCaller(host, seed + 1_000_000)];
      try {
        for (let step = 0; step < EPISODE; step++) callers[step % 7 < 5 ? 0 : 1]!.step();
        for (const caller of callers) caller.end();
      } catch (error) {
        throw new Error(`UVFIO_SEED=${seed}: ${error}`, { cause: error });
      }
      for (const { program } of callers) {
        const { pinnedPages, pinCount, lockedPages, pageSize } = program.task.memory;
        expect({ pinnedPages, pinCount }, `UVFIO_SEED=${seed}`).toEqual({ pinnedPages: 0, pinCount: 0 });
        leaked -= lockedPages * pageSize;
      }
      expect(leaked, `UVFIO_SEED=${seed}: bytes that the kernel leaks, without those that stay locked`).toBe(0);
      calls += EPISODE;
    }
    const seconds = (performance.now() - start) / 1000;
    console.log(`${calls} calls in process, ${Math.round(calls / seconds)} a second`);
  },
  LIMIT_MS,
);
