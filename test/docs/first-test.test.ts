import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { finished, hasCompiler, ROOT, scratchFolder, UVFIO } from "../cli/uvfio.ts";
import { blocksOf, unnamedCode } from "./example.ts";

const PAGE = "docs/first-test.md";
const scratch = scratchFolder();
afterAll(() => scratch.remove());

const blocks = blocksOf(PAGE);
for (const { kind, name, text } of blocks) if (kind === "file") writeFileSync(join(scratch.path, name), text);
writeFileSync(join(scratch.path, "package.json"), '{ "type": "module" }\n');
mkdirSync(join(scratch.path, "node_modules"));
symlinkSync(ROOT, join(scratch.path, "node_modules/uvfio"));
for (const name of ["vitest", "typescript", "@types"])
  symlinkSync(join(ROOT, "node_modules", name), join(scratch.path, "node_modules", name));
mkdirSync(join(scratch.path, "bin"));
writeFileSync(join(scratch.path, "bin/uvfio"), `#!/bin/sh\nexec "${process.execPath}" "${UVFIO}" "$@"\n`);
chmodSync(join(scratch.path, "bin/uvfio"), 0o755);

test("every file of docs/first-test.md is seen by this test", () => {
  expect(unnamedCode(PAGE)).toEqual([]);
  expect(blocks.filter(({ kind }) => kind === "file").map(({ name }) => name)).toEqual([
    "edu.ts",
    "edu.test.ts",
    "map.c",
    "check.sh",
  ]);
});

test("the test in TypeScript compiles with strict checks, and passes", () => {
  const flags = [
    "--strict",
    "--noEmit",
    "--target",
    "es2022",
    "--module",
    "nodenext",
    "--types",
    "node",
    "--skipLibCheck",
  ];
  const tsc = [join(ROOT, "node_modules/typescript/bin/tsc"), ...flags, "edu.ts", "edu.test.ts"];
  expect(finished(process.execPath, tsc, { cwd: scratch.path })).toMatchObject({ status: 0, stdout: "" });
  const vitest = ["node_modules/vitest/vitest.mjs", "run"];
  const run = finished(process.execPath, vitest, { cwd: scratch.path, env: { ...process.env, NO_COLOR: "1" } });
  expect(run.stdout).toMatch(/Tests\s+3 passed/);
  expect(run.status).toBe(0);
});

test.skipIf(!hasCompiler)("the test of the program in C passes, and prints what the page says", () => {
  const env = { ...process.env, PATH: `${join(scratch.path, "bin")}:${process.env.PATH}` };
  const run = finished("sh", ["-c", "sh check.sh 2>&1"], { cwd: scratch.path, env });
  const shown = run.stdout.replace(/\[\d+\]/g, "[4711]");
  expect(shown).toBe(blocks.find(({ kind }) => kind === "output")!.text);
  expect(run.status).toBe(0);
});
