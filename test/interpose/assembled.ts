import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";

const has = (program: string) => spawnSync(program, ["--version"]).status === 0;

/**
 * Tests that the machine code of each architecture is what its source assembles to: test/clients/NAME-ARCH.s.
 * @param code the code for an architecture as node names it
 */
export function testAssembled(name: string, scratch: string, code: (architecture: string) => Buffer | undefined): void {
  test.each([
    ["x64", ""],
    ["arm64", "aarch64-linux-gnu-"],
  ])("%s (needs binutils for it)", (architecture, prefix) => {
    const tools = process.arch === architecture ? "" : prefix;
    if (!has(`${tools}as`)) return expect(process.env.CI).toBeUndefined();
    const source = path.join(import.meta.dirname, `../clients/${name}-${architecture}.s`);
    const [object, binary] = [path.join(scratch, `${name}.o`), path.join(scratch, `${name}.bin`)];
    expect(spawnSync(`${tools}as`, [source, "-o", object]).status).toBe(0);
    spawnSync(`${tools}objcopy`, ["-O", "binary", "-j", ".text", object, binary]);
    expect(code(architecture)?.toString("hex")).toBe(fs.readFileSync(binary).toString("hex"));
  });
}
