import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
// @ts-expect-error a script without types
import { validRangesPicture } from "../../scripts/valid-ranges-picture.mjs";
import { fitSvgMap } from "../../src/library/fit/fit-map.ts";
import { fit as doesFit } from "../../src/library/fit.ts";
import { ROOT } from "../cli/uvfio.ts";

test("docs/valid-ranges.svg is what the model answers today (npm run docs:picture)", async () => {
  const picture = await validRangesPicture({ fit: doesFit, fitSvgMap });
  expect(readFileSync(join(ROOT, "docs/valid-ranges.svg"), "utf8")).toBe(picture);
  expect(picture.match(/class="collision"/g)).toHaveLength(1);
});

test("it loads nothing from elsewhere", () => {
  const picture = readFileSync(join(ROOT, "docs/valid-ranges.svg"), "utf8");
  expect(picture.replace('xmlns="http://www.w3.org/2000/svg"', "")).not.toMatch(/https?:|url\((?!#)|href=|@import/);
});
