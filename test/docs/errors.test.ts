import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  errorsPage,
  escaped,
  key,
  observe,
  type SeenError,
  staticTexts,
  tableKeys,
  watchedClasses,
} from "../../scripts/errors/index.mjs";
import { replay } from "../../src/inspect/replay/replay.ts";
import { ROOT } from "../cli/uvfio.ts";
import { readBundle } from "../recordings/bundle.ts";

const page = readFileSync(join(ROOT, "docs/errors.md"), "utf8");
const statics = staticTexts(join(ROOT, "src"));
const STALE = "docs/errors.md is out of date: npm run docs:errors";

/** Small machines, one for each kind of IOMMU and for none. */
describe.each(["intelsm", "pseries-noddw-6.12-64k", "noiommu-k72fd", "intel39-resv-k72fd"])("on %s", (machine) => {
  const seen = new Map<string, SeenError>();
  let stop = () => {};
  beforeAll(async () => {
    const load = (path: string): Promise<unknown> => import(/* @vite-ignore */ join(ROOT, `src/${path}.ts`));
    stop = observe(await watchedClasses(load), (error) => seen.set(key(error), error));
  });
  afterAll(() => stop());

  test("every errno that a recording provokes is in the table of docs/errors.md", () => {
    const { host, scenarios } = readBundle(machine);
    for (const { operations } of scenarios) replay(host, operations());
    expect(seen.size).toBeGreaterThan(0);
    const listed = tableKeys(page);
    expect(
      [...seen.keys()].filter((each) => !listed.has(each)),
      STALE,
    ).toEqual([]);
  });
});

test("every reason in the sources is on docs/errors.md", () => {
  expect(statics.length).toBeGreaterThan(300);
  const missing = statics.filter(
    ({ errno, text }) =>
      !page.split("\n").some((line) => line.startsWith(`- ${errno ?? "E"}`) && line.endsWith(`: ${escaped(text)}`)),
  );
  expect(
    missing.map(({ file, errno, text }) => `src/${file}: ${errno} ${text}`),
    STALE,
  ).toEqual([]);
});

test("a reason reads as the sources have it, or has its values replaced", () => {
  const at = { request: "VFIO_IOMMU_MAP_DMA", backend: "type1", source: "recordings" } as const;
  const text = errorsPage(
    [
      { ...at, errno: "EINVAL", reason: "made up at 0x10 for 0000:00:1b.0, 12 pages of /dev/vfio/7" },
      { ...at, errno: "EINVAL", reason: "made up at 0x2000 for 0000:01:00.0, 3 pages of /dev/vfio/8" },
      { ...at, errno: "ENOSPC", reason: "a 5 | b 6", source: "tests" },
    ],
    [{ errno: "ENOSPC", text: "a {x} | b {y} for long", pattern: /^a .* \| b .*$/, weight: 9, file: "vfio/x.ts" }],
  );
  expect(text).toContain("| `VFIO_IOMMU_MAP_DMA` | type1 | EINVAL, ENOSPC† |");
  expect(text.match(/^- .*$/gm)).toEqual([
    "- EINVAL (type1): made up at ADDR for BDF, N pages of PATH",
    "- ENOSPC (type1†): a {x} \\| b {y} for long",
  ]);
  expect(tableKeys(text)).toEqual(
    new Set(["VFIO_IOMMU_MAP_DMA | type1 | EINVAL", "VFIO_IOMMU_MAP_DMA | type1 | ENOSPC"]),
  );
});
