import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { UVFIO } from "./uvfio.ts";

const ROUNDS = 8;
/** A run that begins while another one is told of its end makes its namespace some time in this, in milliseconds. */
const BEGINNING = 60;

function start(script: string): ChildProcess {
  return spawn(process.execPath, [UVFIO, "run", "--", "sh", "-c", script], { stdio: ["ignore", "pipe", "pipe"] });
}

function ended(run: ChildProcess): Promise<{ status: number | null; stderr: string }> {
  let stderr = "";
  run.stderr!.on("data", (bytes) => {
    stderr += bytes;
  });
  return new Promise((resolve) => run.once("close", (status) => resolve({ status, stderr })));
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Kills uvfio, and its program with it: nothing is left of the program's namespace, whose number is free then. */
function kill(uvfio: ChildProcess): void {
  const children = readFileSync(`/proc/${uvfio.pid}/task/${uvfio.pid}/children`, "latin1").trim().split(" ");
  uvfio.kill("SIGKILL");
  for (const child of children)
    if (readFileSync(`/proc/${child}/cmdline`, "latin1").startsWith("sleep\0")) process.kill(Number(child), "SIGKILL");
}

test("a run is not told of the end of another one that was killed", { timeout: 120_000 }, async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const victims = [1, 2].map(() => start("echo began; exec sleep 60"));
    await Promise.all(victims.map((run) => new Promise((resolve) => run.stdout!.once("data", resolve))));
    const others = [start("sleep 0.5; exit 7")];
    for (let n = 0; n < 2; n++) {
      await pause(20);
      others.push(start("sleep 0.5; exit 7"));
    }
    const outcomes = others.map(ended);
    await pause((round / ROUNDS) * BEGINNING);
    for (const run of victims) kill(run);
    expect(await Promise.all(outcomes)).toEqual(others.map(() => ({ status: 7, stderr: "" })));
  }
});
