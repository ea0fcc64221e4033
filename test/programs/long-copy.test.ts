import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, scratchFolder, UVFIO, uvfio } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

describe.skipIf(!hasCompiler)("a device that copies for long (needs gcc)", () => {
  const client = hasCompiler ? compile("long-copy", scratch.path) : "";

  test("keeps nobody waiting, and ends quietly with the process whose memory it copies", () => {
    const run = uvfio("run", "-m", "lab", "--", client, "kill");
    expect(run.stdout.split("\n")).toEqual(["status 0", "others are served", "the group is free", ""]);
    expect(run.status).toBe(0);
    expect(run.stderr).not.toContain("internal error");
    // whether the engine touches memory between the end of the process and that of its files is a matter of time
    for (const line of run.stderr.trim().split("\n").filter(Boolean)) {
      expect(line).toMatch(/^uvfio: 0000:01:00\.0: DMA .* faults.*: the memory at 0x[0-9a-f]+ is gone$/);
    }
  });

  test("does not keep signals from the program", async () => {
    const child = spawn(process.execPath, [UVFIO, "run", "-q", "-m", "lab", "--", client, "wait"]);
    const exited = once(child, "exit");
    let output = "";
    for await (const chunk of child.stdout) {
      output += chunk;
      if (output.includes("others")) break;
    }
    const start = performance.now();
    child.kill("SIGTERM");
    const [status] = await exited;
    expect(status).toBe(143);
    // the job takes longer than that on any machine
    expect(performance.now() - start).toBeLessThan(8000);
  });
});
