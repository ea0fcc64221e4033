import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compile, finished, hasCompiler, ROOT, scratchFolder, UVFIO } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
mkdirSync(join(scratch.path, "node_modules"));
symlinkSync(ROOT, join(scratch.path, "node_modules/uvfio"));
/** A folder of somebody who has the command, and no package in reach. */
const plain = scratchFolder();
afterAll(() => plain.remove());

const text = readFileSync(join(ROOT, "docs/device.md"), "utf8");

function block(kind: "example" | "output" | "file", name: string): string {
  return new RegExp(`<!-- ${kind}: ${name} -->\n\`\`\`\\w*\n([^]*?)\`\`\``).exec(text)![1]!;
}

const FILES = ["adder.mjs", "mine.yaml", "add.c", "ticker.mjs"];
for (const { path } of [scratch, plain]) for (const name of FILES) writeFileSync(join(path, name), block("file", name));

test.each(["bench", "ticker"])("the example %s on the bench prints what docs/device.md says", (name) => {
  writeFileSync(join(scratch.path, `${name}-bench.mjs`), block("example", name));
  const run = finished(process.execPath, [join(scratch.path, `${name}-bench.mjs`)]);
  expect(run.stderr).toBe("");
  expect(run.stdout).toBe(block("output", name));
});

/** Runs a program with the page's device, changed. */
function withModel(change: (source: string) => string, ...program: string[]) {
  writeFileSync(join(plain.path, "changed.mjs"), change(block("file", "adder.mjs")));
  const yaml = block("file", "mine.yaml").replace("adder.mjs", "changed.mjs");
  writeFileSync(join(plain.path, "changed.yaml"), yaml);
  return finished(process.execPath, [UVFIO, "run", "-m", join(plain.path, "changed.yaml"), "--", ...program]);
}

describe.skipIf(!hasCompiler)("the device of docs/device.md and its C program (needs gcc)", () => {
  const add = join(plain.path, "add");

  test("do what the page says", () => {
    expect(finished("gcc", ["-o", add, join(plain.path, "add.c")]).status).toBe(0);
    const run = finished(process.execPath, [UVFIO, "run", "-m", join(plain.path, "mine.yaml"), "--", add]);
    expect(run.stdout, run.stderr).toBe(block("output", "add"));
    expect(run.stderr).toBe("");
  });

  test("an error in the model is told with its place, and ends nothing", () => {
    // the device interrupts before it fails, so that the program ends
    const change = (source: string) => source.replace('device.set("SUM", sum);', "device.raise(); absent();");
    const run = withModel(change, add);
    expect(run.stderr).toMatch(
      /0000:01:00\.0: its model failed at work of its own, and the device is gone: ReferenceError: absent is not defined \(.*changed\.mjs:\d+\)/,
    );
    expect(run.stdout).toBe("4294967295\n");
    expect(run.status).toBe(0);
  });
});

test.skipIf(!hasCompiler)("the ticker of docs/device.md has MSI-X, PCI Express and a mapped BAR (needs gcc)", () => {
  const program = compile("ticker", plain.path);
  const yaml = join(plain.path, "ticker.yaml");
  writeFileSync(
    yaml,
    block("file", "mine.yaml").replace("0add", "0711").replace("adder.mjs, options: { start: 7 }", "ticker.mjs"),
  );
  const run = finished(process.execPath, [UVFIO, "run", "-m", yaml, "--", program]);
  expect([run.stdout, run.stderr, run.status]).toEqual(["ok\n", "", 0]);
});

test.each([
  ["no kind", () => "export default 3;", /model \.\/changed\.mjs: has no default export that is a kind of device/],
  [
    "a register outside",
    (s: string) => s.replace("at: 0x18", "at: 0x16"),
    /RangeError: bars\.0: SUM: 0x16 is no place for 4 bytes/,
  ],
  ["two in one place", (s: string) => s.replace("at: 0x18", "at: 0x14"), /SUM lies on RUN/],
  ["no JavaScript", () => "export default (;", /model \.\/changed\.mjs: SyntaxError: /],
  [
    "an option that it has not",
    (s: string) => s.replace("start: whole", "begin: whole"),
    /options\.start: no option of the model/,
  ],
] as const)("a module with %s ends uvfio with one line", (_what, change, message) => {
  const { stderr, status } = withModel(change, "true");
  expect(stderr).toMatch(message);
  expect(stderr.trimEnd()).not.toContain("\n");
  expect(status).toBe(2);
});
