// Stands before every test file when errors-page.mjs runs the model's tests: writes down what they provoke.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll } from "vitest";
import { observe, watchedClasses } from "./index.mjs";

const SRC = fileURLToPath(new URL("../../src", import.meta.url));

// the same calls each time, so that the page stays as it is
fc.configureGlobal({ seed: 1 });

const seen = new Map();
const classes = await watchedClasses((path) => import(/* @vite-ignore */ join(SRC, `${path}.ts`)));
observe(classes, (error) => seen.set(JSON.stringify(error), error));
afterAll(() => {
  const name = `${process.pid}-${process.hrtime.bigint()}.json`;
  writeFileSync(join(process.env.UVFIO_ERRORS_FOLDER, name), JSON.stringify([...seen.values()]));
});
