import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
// @ts-expect-error a script without types
import { splitErrors } from "../../site/split-errors.mjs";
import { ROOT } from "../cli/uvfio.ts";

interface Page {
  readonly name: string;
  readonly text: string;
}

describe("docs/errors.md on the site", () => {
  const markdown = readFileSync(join(ROOT, "docs/errors.md"), "utf8");
  const pages: readonly Page[] = splitErrors(markdown);

  test("has a page for each request, and none twice", () => {
    const headings = [...markdown.matchAll(/^### (.*)$/gm)].map(([, heading]) => heading!);
    expect(headings.length).toBeGreaterThan(50);
    expect(pages.slice(1).map(({ text }) => text.split("\n")[0])).toEqual(headings.map((heading) => `# ${heading}`));
    expect(new Set(pages.map(({ name }) => name)).size).toBe(pages.length);
    expect(pages.map(({ name }) => name)).toContain("errors/vfio-iommu-map-dma.md");
  });

  test("loses no line", () => {
    const shown = new Set(pages.flatMap(({ text }) => text.split("\n")));
    const lost = markdown.split("\n").filter((line) => !/^#|\]\([\w-]+\.md/.test(line) && !shown.has(line));
    expect(lost).toEqual([]);
  });

  test("its first page leads to all others", () => {
    for (const { name } of pages.slice(1)) expect(pages[0]!.text).toContain(`(${name.replace("errors/", "")})`);
  });
});
