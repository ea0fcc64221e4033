import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { finished, ROOT, UVFIO } from "../cli/uvfio.ts";
import { mountsOfRuns } from "../mounts.ts";

/** The figures of test/clients/fuzz/main.c. */
export interface Figures {
  readonly users: number;
  readonly calls: number;
  readonly processes: number;
  readonly execs: number;
  readonly latePages: number;
  readonly looks: number;
  readonly killed: number;
  readonly violations: number;
  readonly rounds: number;
  readonly waited999Us: number;
  readonly waitedMostUs: number;
  /** Of the wait, what neither who waited nor uvfio spent waiting for a processor: that is not the machine's load. */
  readonly held999Us: number;
  readonly heldMostUs: number;
  readonly plain999Us: number;
  readonly plainMostUs: number;
}

export interface FuzzRun {
  readonly figures: Figures;
  readonly status: number | null;
  /** All of stderr, and what the client said that was no figure. */
  readonly said: string;
  /** From the signal to uvfio until the program has it. */
  readonly signalMs: number[];
  /** Of that, what neither of them spent waiting for a processor. */
  readonly signalHeldMs: number[];
  /** Resident memory of uvfio over the run, in KiB. */
  readonly residentKib: number[];
  /** Descriptors that uvfio had when all random callers had gone and not before, by what they are. */
  readonly descriptorsLeft: string[];
  /** Mounts, files and processes that were not there before. */
  readonly leftBehind: string[];
}

/** Compiles test/clients/fuzz. */
export function compileFuzz(folder: string): string {
  const binary = join(folder, "fuzz");
  const sources = join(ROOT, "test/clients/fuzz");
  const files = readdirSync(sources).filter((name) => name.endsWith(".c"));
  const flags = ["-D_GNU_SOURCE", "-O1", "-Wall", "-Werror", "-Wno-unused-result"];
  const built = finished("gcc", [...flags, "-o", binary, ...files.map((name) => join(sources, name)), "-lpthread"]);
  if (built.status !== 0) throw new Error(built.stderr);
  return binary;
}

const SIGNAL_EVERY_MS = 10;
const SAMPLE_EVERY_MS = 100;
const CLOSING_MS = 10_000;
/** A run that says nothing for so long is stuck: signals are answered all the time. */
const SILENCE_MS = 90_000;

/** Runs the fuzzer under `uvfio run`, with signals all the time, and looks at what it leaves behind. */
export async function fuzz(folder: string, binary: string, options: string[], args: string[]): Promise<FuzzRun> {
  const temporary = join(folder, "tmp");
  mkdirSync(temporary, { recursive: true });
  const mounts = mountsOfRuns(folder).join();
  const command = [UVFIO, "run", "-q", ...options, "--", binary, ...args];
  const child = spawn(process.execPath, command, { env: { ...process.env, TMPDIR: temporary } });
  let said = "";
  child.stderr.on("data", (bytes) => {
    said += bytes;
  });
  let stuck = "";
  const giveUp = setTimeout(() => {
    stuck = `; it was stuck:\n${[String(child.pid), ...processesOf(binary)].map(stateOf).join("")}`;
    child.kill("SIGKILL");
  }, SILENCE_MS);
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const signalMs: number[] = [];
  const residentKib: number[] = [];
  const signalHeldMs: number[] = [];
  let program = 0;
  let sent: { readonly at: bigint; readonly unscheduled: bigint } | undefined;
  let figures: Figures | undefined;
  let before: string[] = [];
  let descriptorsLeft: string[] = [];
  let timers: NodeJS.Timeout[] = [];
  child.once("exit", (_, signal) => {
    for (const timer of timers) clearInterval(timer);
    if (signal === null) return;
    // its callers would wait for answers for ever, and this for them
    said += `uvfio was ended by ${signal}\n`;
    for (const pid of processesOf(binary)) process.kill(Number(pid), "SIGKILL");
  });
  for await (const line of createInterface(child.stdout)) {
    giveUp.refresh();
    if (line.startsWith("ready ")) {
      program = Number(line.slice(6));
      before = descriptors(child.pid!);
      timers = [
        setInterval(() => residentKib.push(resident(child.pid!)), SAMPLE_EVERY_MS),
        setInterval(() => {
          if (sent !== undefined) return;
          sent = {
            at: process.hrtime.bigint(),
            unscheduled: unscheduledNs(child.pid!) + unscheduledNs(program),
          };
          child.kill("SIGUSR2");
        }, SIGNAL_EVERY_MS),
      ];
    } else if (line.startsWith("heard ")) {
      const [heard, own, uvfios] = line.slice(6).split(" ").map(BigInt) as [bigint, bigint, bigint];
      if (sent !== undefined) {
        const ns = Number(heard - sent.at);
        signalMs.push(ns / 1e6);
        signalHeldMs.push(Math.max(0, ns - Number(own + uvfios - sent.unscheduled)) / 1e6);
      }
      sent = undefined;
    } else if (line.startsWith("{")) {
      figures = JSON.parse(line) as Figures;
      for (const timer of timers) clearInterval(timer);
      descriptorsLeft = await closed(child, before);
      child.stdin.end("\n");
    } else if (line !== "normal 0") said += `${line}\n`;
  }
  const status = await ended;
  clearTimeout(giveUp);
  for (const timer of timers) clearInterval(timer);
  if (!figures) throw new Error(`the fuzzer did not come to its end (status ${status}): ${said}${stuck}`);
  const leftBehind = [...readdirSync(temporary), ...processesOf(binary)];
  if (mountsOfRuns(folder).join() !== mounts) leftBehind.push("mounts");
  return { figures, status, said, signalMs, signalHeldMs, residentKib, descriptorsLeft, leftBehind };
}

/** uvfio notices last closes a little later; what is still there after some time stays. */
async function closed(child: ChildProcessWithoutNullStreams, before: string[]): Promise<string[]> {
  const deadline = Date.now() + CLOSING_MS;
  for (;;) {
    const rest = [...before];
    const left = descriptors(child.pid!).filter((name) => {
      const at = rest.indexOf(name);
      if (at >= 0) rest.splice(at, 1);
      return at < 0;
    });
    if (left.length === 0 || Date.now() > deadline) return left;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function descriptors(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).flatMap((fd) => {
    try {
      return readlinkSync(join(folder, fd)).replace(/\d+/g, "N");
    } catch {
      return [];
    }
  });
}

function resident(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
}

/** How long the first thread of a process has waited for a processor. */
function unscheduledNs(pid: number): bigint {
  return BigInt(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[1] ?? 0);
}

function processesOf(binary: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/exe`) === binary;
    } catch {
      return false;
    }
  });
}

/** What a process does: its threads, and where they wait. */
function stateOf(pid: string): string {
  return threadsOf(pid)
    .map((thread) => {
      const read = (name: string) => {
        try {
          return readFileSync(`/proc/${pid}/task/${thread}/${name}`, "utf8").trim();
        } catch {
          return "?";
        }
      };
      const status = read("status").match(/^(State|PPid|TracerPid|SigPnd):.*/gm);
      return `${pid}/${thread} ${status?.join(" ")} ${read("wchan")} ${read("syscall")}\n`;
    })
    .join("");
}

function threadsOf(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** The value below which that part of all values lies. */
export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}
