import { copyFileSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compile, finished, hasCompiler, ROOT, scratchFolder } from "../cli/uvfio.ts";
import { blocksOf, unnamedCode } from "./example.ts";

const PAGE = "docs/library.md";
const scratch = scratchFolder();
afterAll(() => scratch.remove());

const blocks = blocksOf(PAGE);
const examples = blocks.filter(({ kind }) => kind === "example");
const outputs = new Map(blocks.filter(({ kind }) => kind === "output").map(({ name, text }) => [name, text]));
/** What runs a program of this project. */
const NEED_PROGRAM = ["run", "trace"];

/** As somebody would have it who is strict, and checks what the package declares too. */
const STRICT = {
  compilerOptions: {
    target: "ES2022",
    lib: ["ES2022"],
    module: "NodeNext",
    types: ["node"],
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    noImplicitOverride: true,
    noUnusedLocals: true,
    skipLibCheck: false,
    outDir: "out",
  },
  include: ["*.ts"],
};

describe(`the examples of ${PAGE}`, () => {
  let checked: { status: number | null; stdout: string };
  beforeAll(() => {
    // as if it was installed: the dependencies lie beside it
    mkdirSync(join(scratch.path, "node_modules"));
    for (const name of readdirSync(join(ROOT, "node_modules")))
      symlinkSync(join(ROOT, "node_modules", name), join(scratch.path, "node_modules", name));
    symlinkSync(ROOT, join(scratch.path, "node_modules/uvfio"));
    writeFileSync(join(scratch.path, "package.json"), '{ "type": "module" }\n');
    writeFileSync(join(scratch.path, "tsconfig.json"), JSON.stringify(STRICT));
    for (const { name, text } of examples) writeFileSync(join(scratch.path, `${name}.ts`), text);
    checked = finished(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", scratch.path]);
    if (hasCompiler) copyFileSync(compile("iova-ranges", scratch.path), join(scratch.path, "iova-ranges"));
  });

  test("are all seen by this test", () => {
    expect(examples.length).toBeGreaterThan(10);
    expect(unnamedCode(PAGE)).toEqual([]);
    for (const { language } of examples) expect(language).toBe("ts");
    for (const name of outputs.keys()) expect(examples.map((example) => example.name)).toContain(name);
  });

  test("compile with strict checks", () => {
    expect(checked).toMatchObject({ status: 0, stdout: "" });
  });

  test.each(examples.map(({ name }) => name))("%s runs, and prints what the page says", (name) => {
    if (NEED_PROGRAM.includes(name) && !hasCompiler) return;
    const run = finished(process.execPath, [join(scratch.path, "out", `${name}.js`)], { cwd: scratch.path });
    expect(run.stderr).toBe("");
    const output = outputs.get(name);
    if (output === undefined) expect(run.stdout).not.toBe("");
    else expect(run.stdout).toBe(output);
  });
});
