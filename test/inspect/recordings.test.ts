import { describe, expect, test } from "vitest";
import { replay } from "../../src/inspect/replay/replay.ts";
import { bundleNames, readBundle } from "../recordings/bundle.ts";

describe.each(bundleNames())("recorded on %s", (machine) => {
  const { host, scenarios } = readBundle(machine);

  test.each(scenarios)("$name", ({ operations }) => {
    const result = replay(host, operations());
    expect(result.different).toEqual([]);
    expect(result.calls).toBeGreaterThan(0);
  });
});
