import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../cli/uvfio.ts";

const page = readFileSync(join(ROOT, "docs/security.md"), "utf8");
/** `folder/file.test.ts`, and the titles behind it up to the next file. */
const named = [...page.matchAll(/`([\w/-]+\.test\.ts)`((?:[\s,;]*"[^"]+")*)/g)].map(
  ([, file, titles]) => [file!, [...titles!.matchAll(/"([^"]+)"/g)].map(([, title]) => title!)] as const,
);

test("names tests", () => {
  expect(named.length).toBeGreaterThan(15);
});

test.each(named)("%s holds what the page says of it", (file, titles) => {
  const at = join(ROOT, "test", file.replace(/^test\//, ""));
  expect(existsSync(at), `${file} is not there`).toBe(true);
  const text = readFileSync(at, "utf8");
  for (const title of titles) expect(text, `${file} has no test "${title}"`).toContain(`"${title}"`);
});

test("every file of the source that it names is there", () => {
  const files = [...page.matchAll(/`((?:[\w-]+\/)*[\w-]+\.ts)(?::\w+)?`/g)].map(([, file]) => file!);
  const sources = files.filter((file) => !file.includes(".test."));
  expect(sources.length).toBeGreaterThan(10);
  for (const file of sources) expect(existsSync(join(ROOT, "src/interpose", file)), file).toBe(true);
});
