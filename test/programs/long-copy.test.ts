import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
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

  test("replays as it was traced, slice by slice", () => {
    const trace = join(scratch.path, "trace.jsonl");
    expect(uvfio("run", "-q", "-m", "lab", "--trace", trace, "--", client, "kill").status).toBe(0);
    expect(readFileSync(trace, "utf8")).toContain('{"op":"work","pieces":');
    const replay = uvfio("replay", trace);
    expect(replay.stdout).toContain(" 0 different");
    expect(replay.status).toBe(0);
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
