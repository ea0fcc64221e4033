import { describe, expect, test } from "vitest";
import { CALLS } from "../../../src/inspect/explain/calls.ts";
import { KNOWN_ERRORS } from "../../../src/inspect/explain/error-table.ts";
import { matchLine } from "../../../src/inspect/explain/line-match.ts";
import { RULES } from "../../../src/inspect/explain/rules/index.ts";
import { REPORTED } from "./reports.ts";

describe("lines of public reports", () => {
  test.each(REPORTED)("$rule: $line", ({ rule, line, errno, bdf, group }) => {
    const match = matchLine(line);
    expect(match?.rule.id).toBe(rule);
    const { facts } = match!;
    expect(facts).toMatchObject({
      ...(errno !== undefined && { errno }),
      ...(bdf !== undefined && { bdf }),
      ...(group !== undefined && { group }),
    });
  });
});

describe("rules", () => {
  test("each has a line of a report, or one of its form", () => {
    const shown = new Set(REPORTED.map(({ rule }) => rule));
    expect(RULES.map(({ id }) => id).filter((id) => !shown.has(id))).toEqual(
      ["not-viable-dpdk"].filter((id) => !shown.has(id)),
    );
  });

  test("have names of their own", () => {
    const ids = RULES.map(({ id }) => id);
    expect(ids.filter((id, at) => ids.indexOf(id) !== at)).toEqual([]);
  });

  test("that tell of a failure have a cause, by themselves or by their call", () => {
    const bare = RULES.filter(
      ({ id, kind = "failure", causes, call }) =>
        kind === "failure" && causes === undefined && call === undefined && !["request", "request-number"].includes(id),
    );
    expect(bare.map(({ id }) => id)).toEqual([]);
    for (const { certain, causes } of RULES) if (certain) expect(causes).toHaveLength(1);
  });

  test("name witnesses that there are", () => {
    const ids = RULES.map(({ id }) => id);
    const named = [...RULES.flatMap(({ causes = [] }) => causes), ...allCauses()].flatMap(({ saidBy = [] }) => saidBy);
    expect(named.filter((id) => !ids.some((each) => each === id || each.startsWith(`${id}-`)))).toEqual([]);
  });

  test("are about errnos that the table of errors has for the call", () => {
    // what kernels gave that no recording has
    const others = new Set(["VFIO_IOMMU_MAP_DMA EPERM", "VFIO_IOMMU_MAP_DMA ENODEV"]);
    const missing = Object.values(CALLS).flatMap(({ request, causes }) => {
      if (request === undefined || request === "open") return [];
      const known = new Set(KNOWN_ERRORS.filter((row) => row.request === request).map(({ errno }) => errno as string));
      if (known.size === 0) return [`${request} is not in the table`];
      return Object.keys(causes)
        .filter((errno) => !known.has(errno) && !others.has(`${request} ${errno}`))
        .map((errno) => `${request} ${errno}`);
    });
    expect(missing.filter((each) => each.endsWith("is not in the table"))).toEqual([]);
  });
});

function allCauses() {
  return Object.values(CALLS).flatMap(({ causes }) => Object.values(causes).flatMap((each) => each ?? []));
}
