import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { coveredDirectly } from "../../src/interpose/launch/graft.ts";

const root = fs.mkdtempSync(join(tmpdir(), "uvfio-grafts-"));
afterAll(() => fs.rmSync(root, { recursive: true }));
for (const name of [
  "kernel/groups",
  "kernel/other",
  "devices/bus0",
  "devices/bus1",
  "devices/virtual/net",
  "class/net",
])
  fs.mkdirSync(join(root, name), { recursive: true });

const kernel = join(root, "kernel");
const groups = join(kernel, "groups");
const devices = join(root, "devices");
const bus = join(devices, "bus0");

/** The directories of grafts that are done without. */
function without(grafts: Record<string, string[]>, paths: string[], mounted: string[]): string[] {
  const asked = Object.entries(grafts).map(([directory, hidden]) => ({ directory, hidden }));
  return [...coveredDirectly(asked, paths, mounted).keys()];
}

describe("a graft", () => {
  test("is done without where all that it has is mounted over what is there", () => {
    expect(without({ [kernel]: ["groups"] }, [groups], [groups])).toEqual([kernel]);
    expect(without({ [devices]: ["bus0"], [join(devices, "virtual")]: [] }, [bus], [bus])).toEqual([devices]);
  });

  test("is made where something is not mounted, or there is nothing to mount it over", () => {
    expect(without({ [kernel]: ["groups"] }, [groups], [])).toEqual([]);
    expect(without({ [kernel]: ["groups"] }, [groups, join(kernel, "debug/file")], [groups])).toEqual([]);
    const added = join(kernel, "added");
    expect(without({ [kernel]: ["groups"] }, [groups, added], [groups, added])).toEqual([]);
  });

  test("is made where something real is to be hidden", () => {
    expect(without({ [devices]: ["bus0", "bus1"] }, [bus], [bus])).toEqual([]);
    expect(without({ [devices]: ["bus0", "bus2"] }, [bus], [bus])).toEqual([devices]);
    expect(without({ [devices]: ["*"] }, [bus], [bus])).toEqual([]);
    expect(without({ [join(root, "class")]: [] }, [], [])).toEqual([]);
  });
});
