import { describe, expect, test } from "vitest";
import { replay } from "../../../src/inspect/replay/replay.ts";
import { readBundle } from "../../recordings/bundle.ts";
import { traceOf } from "./watched-replay.ts";

/** What a program does to its surroundings is no call to VFIO and not in a trace: the answers that depend on it are others. */
const OUTSIDE = /^(param|hugepages|child-begin|mkfile|memfd)$/;

const MACHINES = ["intel39-k72fd", "pseries-6.12-64k", "s390x-mixed"];

/** A trace of each recorded scenario gives the same answers again: the recorder has written down all that they depend on. */
describe.each(MACHINES)("a trace of the calls recorded on %s", (machine) => {
  const { host, scenarios } = readBundle(machine);
  const own = scenarios.filter(({ operations }) => {
    const kinds = operations().map(({ op }) => op);
    return kinds.includes("open") && !kinds.some((op) => OUTSIDE.test(op));
  });

  test.each(own)("$name repeats", ({ operations }) => {
    const trace = traceOf(host, operations());
    const result = replay(host, trace);
    expect(result.different).toEqual([]);
    expect(result.calls).toBeGreaterThan(0);
  });
});
