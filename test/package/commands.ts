import { spawnSync } from "node:child_process";

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in a folder with npm's cache, but without the variables of an npm that runs this test. @param env further variables */
export function run(cwd: string, command: readonly string[], env: Readonly<Record<string, string>> = {}): Outcome {
  const inherited = Object.entries(process.env).filter(([name]) => !/^npm_|^NODE_|^VITEST/i.test(name));
  const [program, ...args] = command;
  const variables = { ...Object.fromEntries(inherited), ...env };
  const { status, stdout, stderr, error } = spawnSync(program!, args, { cwd, env: variables, encoding: "utf8" });
  if (error) throw error;
  return { status, stdout, stderr };
}

/** The same for one that must succeed: returns what it prints. */
export function succeed(cwd: string, command: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  const { status, stdout, stderr } = run(cwd, command, env);
  if (status !== 0) throw new Error(`${command.join(" ")}: status ${status}\n${stdout}${stderr}`);
  return stdout;
}

/** Whether npm gets packages: without it nothing can be installed. Says so where it does not. */
export function hasRegistry(): boolean {
  const { status, stderr } = run("/", [
    "npm",
    "view",
    "commander",
    "version",
    "--fetch-retries=0",
    "--fetch-timeout=20000",
  ]);
  if (status === 0) return true;
  const reason = /^npm error code (\S+)/m.exec(stderr)?.[1] ?? `status ${status}`;
  console.warn(`the package registry cannot be reached (${reason}): tests that install packages are skipped`);
  return false;
}
