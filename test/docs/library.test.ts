import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { finished, ROOT, scratchFolder } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
mkdirSync(join(scratch.path, "node_modules"));
symlinkSync(ROOT, join(scratch.path, "node_modules/uvfio"));

const text = readFileSync(join(ROOT, "docs/library.md"), "utf8");

function block(kind: "example" | "output", name: string): string {
  return new RegExp(`<!-- ${kind}: ${name} -->\n\`\`\`\\w*\n([^]*?)\`\`\``).exec(text)![1]!;
}

test.each(["typed", "registers", "raw", "device"])(
  "the %s example of docs/library.md prints what the page says",
  (name) => {
    const file = join(scratch.path, `${name}.mjs`);
    writeFileSync(file, block("example", name));
    const run = finished(process.execPath, [file]);
    expect(run.stderr).toBe("");
    expect(run.stdout).toBe(block("output", name));
  },
);
