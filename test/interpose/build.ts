import { type SpawnOptions, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { TinyHostOptions } from "./tiny-host.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));

export interface Finished {
  /** null when a signal ended it. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the tests give tiny-main: runProgram()'s options, and the host's. */
export interface TinyOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  readonly trapFstat?: boolean;
  readonly userNamespace?: boolean;
  readonly serveFiles?: boolean;
  readonly mounts?: boolean;
  readonly host?: TinyHostOptions;
}

/** The compiled interposer with the tiny host, in a directory of its own, readable for everybody. */
export class Build {
  readonly directory = fs.mkdtempSync(path.join(os.tmpdir(), "uvfio-interpose-test-"));
  readonly #main = path.join(this.directory, "test/interpose/tiny-main.js");

  constructor() {
    fs.chmodSync(this.directory, 0o755);
    const compiler = path.join(project, "node_modules/typescript/bin/tsc");
    const config = path.join(project, "test/interpose/tsconfig.json");
    const compiled = spawnSync(process.execPath, [compiler, "-p", config, "--outDir", this.directory], {
      encoding: "utf8",
    });
    if (!fs.existsSync(this.#main)) throw new Error(`the interposer does not compile:\n${compiled.stdout}`);
    fs.symlinkSync(path.join(project, "node_modules"), path.join(this.directory, "node_modules"));
    fs.copyFileSync(path.join(project, "package.json"), path.join(this.directory, "package.json"));
  }

  /** Compiles a program of test/clients; undefined when this machine cannot. */
  client(source: string, output: string, ...flags: string[]): string | undefined {
    const program = path.join(this.directory, output);
    const from = path.join(project, "test/clients", source);
    const compiled = spawnSync("gcc", ["-O1", "-w", "-o", program, from, ...flags], { encoding: "utf8" });
    if (compiled.status === 0) return program;
    console.warn(`${output} is left out: gcc ${flags.join(" ")} says ${compiled.stderr || compiled.error?.message}`);
    return undefined;
  }

  /** The command line that runs a program against the tiny host. */
  command(options: TinyOptions, ...argv: string[]): [string, ...string[]] {
    return [process.execPath, this.#main, JSON.stringify(options), ...argv];
  }

  async run(options: TinyOptions, ...argv: string[]): Promise<Finished> {
    return finish(this.command(options, ...argv));
  }

  /** A path for a file of a test. */
  path(name: string): string {
    return path.join(this.directory, name);
  }

  remove(): void {
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

export function start(command: readonly string[], options: SpawnOptions = {}): Running {
  return new Running(command, options);
}

/** A command that is running, and what it has written so far. */
export class Running {
  readonly child;
  readonly finished: Promise<Finished>;
  stdout = "";
  stderr = "";

  constructor(command: readonly string[], options: SpawnOptions) {
    this.child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", "pipe", "pipe"], ...options });
    this.child.stdout?.on("data", (text) => {
      this.stdout += text;
    });
    this.child.stderr?.on("data", (text) => {
      this.stderr += text;
    });
    this.finished = new Promise((resolve, reject) => {
      this.child.once("error", reject);
      this.child.once("close", (status, signal) =>
        resolve({ status, signal, stdout: this.stdout, stderr: this.stderr }),
      );
    });
  }

  /** Waits until the output holds a text. */
  async says(text: string, seconds = 20): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    while (!this.stdout.includes(text)) {
      if (Date.now() > deadline) throw new Error(`no "${text}" in: ${this.stdout}${this.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

export async function finish(command: readonly string[], options: SpawnOptions = {}): Promise<Finished> {
  return start(command, options).finished;
}

export function isAlive(pid: number): boolean {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    // A zombie that nobody has waited for yet is not alive.
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !== "Z";
  } catch {
    return false;
  }
}
