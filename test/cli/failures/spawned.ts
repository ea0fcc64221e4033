import { spawn } from "node:child_process";
import { expect } from "vitest";
import { UVFIO } from "../uvfio.ts";

export interface Ended {
  /** undefined when a signal ended it. */
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly milliseconds: number;
}

/** How long any of these may take: twice what a FIFO without a writer is waited for, on a busy machine. */
export const PATIENCE = 40_000;

/**
 * Runs `uvfio ARGS` by a shell, which can do to it what no caller of spawn() can.
 * @param script with "$@" for the command, like `"$@" >/dev/full`
 */
export function inShell(
  script: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Ended> {
  const begun = performance.now();
  return new Promise((done, failed) => {
    const child = spawn("bash", ["-c", script, "bash", process.execPath, UVFIO, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: PATIENCE,
      killSignal: "SIGKILL",
      ...options,
    });
    const texts = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text) => {
      texts.stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      texts.stderr += text;
    });
    child.on("error", failed);
    child.on("close", (status) =>
      done({ status: status ?? undefined, ...texts, milliseconds: performance.now() - begun }),
    );
  });
}

/** Does something for each, four at a time: most of them wait. */
export async function forEach<T>(items: readonly T[], action: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const worker = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await action(item);
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}

/** What all that uvfio says of a failure looks like: lines with one prefix, short, harmless, and never a stack trace. */
export function expectClearLines(stderr: string, what: string): void {
  expect(stderr, what).toMatch(/\n$/);
  for (const line of stderr.trimEnd().split("\n")) {
    expect(line, what).toMatch(/^uvfio: /);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
    expect(line, what).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
    expect(line.length, what).toBeLessThan(2500);
    expect(line, what).not.toMatch(/ at .*\(?\S+:\d+:\d+\)?$|defect of uvfio/);
  }
}
