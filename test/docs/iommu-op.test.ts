import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { DESCRIPTORS, type DescriptorField } from "../../src/uapi/intel-invalidation.ts";
import * as v510 from "../../src/uapi/iommu-v510.ts";
import { type FieldType, Layout } from "../../src/uapi/layout.ts";
import * as rfc from "../../src/uapi/rfc-2017.ts";
import { ROOT } from "../cli/uvfio.ts";
import type { AnyLayout } from "../uapi/vfio-header.ts";

const page = readFileSync(join(ROOT, "docs/iommu-op.md"), "utf8");

describe("the table of questions in docs/iommu-op.md", () => {
  const rows = page.split("\n").filter((line) => line.startsWith("| ") && line.includes("`test/"));

  test("names a test for each", () => {
    const start = page.indexOf("| asked | answer | held by |");
    const table = page.slice(start, page.indexOf("\n\n", start)).split("\n").slice(2);
    expect(table.length).toBeGreaterThan(15);
    expect(table).toEqual(rows);
  });

  test.each(rows)("%s", (row) => {
    const [, file, title] = /\| `(test\/[^`]+)` "([^"]+)" \|$/.exec(row)!;
    const path = join(ROOT, file!);
    expect(existsSync(path), file).toBe(true);
    const titles = [
      ...readFileSync(path, "utf8").matchAll(/\b(?:test|describe|it)(?:\.each\([\s\S]*?\))?\(\s*"([^"\n]+)"/g),
    ];
    expect(titles.map((each) => each[1])).toContain(title);
  });

  test("links to sections that there are", () => {
    const anchors = [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replace(/[^\w\s-]/g, "")
        .replace(/\s/g, "-"),
    );
    const links = [...page.matchAll(/\]\(#([^)]+)\)/g)].map((match) => match[1]);
    expect(links.filter((link) => !anchors.includes(link!))).toEqual([]);
    expect(links.length).toBeGreaterThan(3);
  });
});

describe("Intel's descriptors in docs/iommu-op.md", () => {
  const rows = [...page.matchAll(/^\| (\d+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$/gm)];

  test("the table of descriptors has the bits of the sources, no more and no fewer", () => {
    const written = rows.map(([, type, , fields]) => [Number(type), bitsOf(fields!)]);
    const ours = Object.values(DESCRIPTORS).map(({ type, fields }) => [
      type,
      Object.values<DescriptorField>(fields)
        .flatMap(({ pieces }) => pieces.flatMap(({ first, bits }) => range(first, first + bits - 1)))
        .sort((a, b) => a - b),
    ]);
    expect(written).toEqual(ours);
  });
});

/** "granularity 4-5 (1 global), fence 6": the bits 4, 5 and 6. */
function bitsOf(fields: string): number[] {
  const numbers = fields.replace(/\([^)]*\)/g, "").matchAll(/(\d+)(?:-(\d+))?/g);
  return [...numbers].flatMap(([, first, last]) => range(Number(first), Number(last ?? first))).sort((a, b) => a - b);
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

describe("the header in docs/iommu-op.md", () => {
  const folder = mkdtempSync(join(tmpdir(), "uvfio-iommu-op-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  const header = [...page.matchAll(/^```c\n([\s\S]*?)^```$/gm)].map((match) => match[1]).join("\n");
  const layouts = Object.values(rfc).filter((value): value is AnyLayout => value instanceof Layout);
  const vendorFlags = Object.entries(v510).filter(([name]) => {
    return /^IOMMU_(SVA_VTD_GPASID_(SRE|EAFE|WPE)|CACHE_INV_TYPE_(IOTLB|DEV_IOTLB|PASID))$/.test(name);
  });
  const constants = [...Object.entries(rfc), ...vendorFlags].filter(
    (entry): entry is [string, number] => typeof entry[1] === "number",
  );

  const hasGcc = spawnSync("gcc", ["--version"]).status === 0;

  test("defines everything that the sources have", () => {
    const structs = [...header.matchAll(/^struct (\w+) \{[^\n]*\n([\s\S]*?)^\};/gm)].map(([, name, body]) => {
      const members = [...body!.matchAll(/^\t(?:struct )?\w+ +(\w+)(?:\[\d*\])?;/gm)].map((match) => match[1]);
      return `${name}: ${members.join(", ")}`;
    });
    const ours = layouts.map(({ name, fields }) => `${name}: ${Object.keys(fields).join(", ")}`);
    expect(structs.sort()).toEqual(ours.sort());
    const defines = [...header.matchAll(/^#define (\w+) /gm)].map((match) => match[1]);
    expect(defines.sort()).toEqual(constants.map(([name]) => name).sort());
  });

  test.skipIf(!hasGcc)("compiles, with the sizes, offsets and numbers of the sources", () => {
    const questions = [
      ...layouts.flatMap(({ name, size, offsets, fields }) => [
        [`sizeof(struct ${name})`, size] as const,
        ...Object.entries(offsets).map(([field, at]) => [`offsetof(struct ${name}, ${field})`, at] as const),
        ...Object.entries<FieldType<unknown>>(fields)
          .filter(([, type]) => type.size > 0)
          .map(([field, type]) => [`sizeof(((struct ${name} *)0)->${field})`, type.size] as const),
      ]),
      ...constants,
    ];
    const source = [
      "#include <stddef.h>\n#include <stdio.h>\n#include <linux/vfio.h>",
      header,
      "int main(void) {",
      ...questions.map(([expression]) => `printf("%lld\\n", (long long)(${expression}));`),
      "return 0; }",
    ].join("\n");
    const file = join(folder, "header.c");
    writeFileSync(file, source);
    const built = spawnSync("gcc", ["-Wall", "-Wextra", "-Werror", "-o", join(folder, "header"), file], {
      encoding: "utf8",
    });
    expect(built.stderr).toBe("");
    const answers = spawnSync(join(folder, "header"), { encoding: "utf8" }).stdout.trim().split("\n").map(Number);
    expect(questions.map(([expression], i) => [expression, answers[i]])).toEqual(questions.map((each) => [...each]));
  });
});
