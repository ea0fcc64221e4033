import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { finished, ROOT, scratchFolder, uvfio } from "../cli/uvfio.ts";

const hasGo = spawnSync("go", ["version"]).status === 0;
if (!hasGo) console.log("a program in Go: skipped, there is no go (Debian's golang-go)");

const scratch = scratchFolder();
afterAll(() => scratch.remove());

/** Compiles test/clients/go, without anything from the network. */
function compileGo(): string {
  const binary = join(scratch.path, "client");
  const env = {
    ...process.env,
    CGO_ENABLED: "0",
    GOCACHE: join(scratch.path, "cache"),
    GOPROXY: "off",
    GO111MODULE: "off",
  };
  const built = finished("go", ["build", "-o", binary, join(ROOT, "test/clients/go/main.go")], { env });
  if (built.status !== 0) throw new Error(built.stderr);
  return binary;
}

describe.skipIf(!hasGo)("a program in Go (needs go)", () => {
  test("has its calls served in all threads of its runtime", () => {
    const run = uvfio("run", "-m", "lab", "--", compileGo(), "1", "0000:01:00.0");
    expect(run).toEqual({ status: 0, stdout: "version 0, registers agree true, unmapped 1600 pages\n", stderr: "" });
  });
});
