import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { ROOT } from "../cli/uvfio.ts";

const CARRIED = (JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { files: string[] }).files;
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "SECURITY.md",
  ...readdirSync(join(ROOT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

/** What a page links to, without code. */
function linksOf(page: string): string[] {
  const text = readFileSync(join(ROOT, page), "utf8").replace(/^```[\s\S]*?^```$/gm, "");
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
}

/** As GitHub and the site make it of a heading. */
function anchorsOf(page: string): string[] {
  const text = readFileSync(join(ROOT, page), "utf8").replace(/^```[\s\S]*?^```$/gm, "");
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

describe("the pages", () => {
  test.each(pages)("%s links to nothing that is not there, or that the package does not carry", (page) => {
    for (const target of linksOf(page)) {
      if (/^https?:/.test(target)) continue;
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? page : relative(ROOT, join(ROOT, dirname(page), path));
      expect(existsSync(join(ROOT, file)), `${page} links to ${target}`).toBe(true);
      expect(CARRIED, `${page} links to ${target}, which the package does not carry`).toContain(file.split("/")[0]!);
      if (anchor !== undefined) expect(anchorsOf(file), `${page} links to ${target}`).toContain(anchor);
    }
  });

  test("are all found from docs/index.md", () => {
    const reached = linksOf("docs/index.md").map((target) => target.split("#")[0]);
    for (const page of pages) {
      const name = page.replace(/^docs\//, "");
      if (page.startsWith("docs/") && name !== "index.md") expect(reached, page).toContain(name);
    }
  });
});
