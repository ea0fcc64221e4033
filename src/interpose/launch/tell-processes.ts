import fs from "node:fs";
import { HOST_CALLS } from "../host-calls.ts";
import { close, syscall } from "../libc.ts";
import { AT_FDCWD } from "../linux.ts";
import { lastStat, statPath } from "../path-stat.ts";
import { readProc } from "../proc-file.ts";

const SIGTERM = 15;
/** Processes that were forked meanwhile show in the next round; whoever forks on and on is not followed for ever. */
const ROUNDS = 20;

interface Seen {
  readonly parent: number;
  /** In the kernel's ticks: tells one process from another that gets its number. */
  readonly started: string;
}

/** Sends SIGTERM, once, to all processes in a mount namespace, and to the descendants of these and of `program`. */
export function tellAll(namespace: number, program: number): void {
  const told = new Set<number>();
  for (let round = 0; round < ROUNDS; round++) {
    const before = told.size;
    for (const [pid, seen] of members(namespace, program)) {
      if (told.has(pid)) continue;
      told.add(pid);
      tell(pid, seen);
    }
    if (told.size === before) return;
  }
}

/** What is told is what was looked at, not another process that has its number by now. */
function tell(pid: number, { started }: Seen): void {
  const pidfd = syscall(HOST_CALLS.pidfd_open, pid, 0);
  if (pidfd < 0) return;
  if (look(pid)?.started === started) syscall(HOST_CALLS.pidfd_send_signal, pidfd, SIGTERM, 0, 0);
  close(pidfd);
}

function members(namespace: number, program: number): Map<number, Seen> {
  const all = new Map<number, Seen>();
  const found = new Map<number, Seen>();
  for (const name of fs.readdirSync("/proc")) {
    const pid = Number(name);
    const seen = Number.isInteger(pid) ? look(pid) : undefined;
    if (seen === undefined) continue;
    all.set(pid, seen);
    if (pid === program || isIn(pid, namespace)) found.set(pid, seen);
  }
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    for (const [pid, seen] of all) if (found.has(seen.parent)) found.set(pid, seen);
  }
  return found;
}

function isIn(pid: number, namespace: number): boolean {
  return statPath(AT_FDCWD, `/proc/${pid}/ns/mnt`) === 0 && lastStat.inode === namespace;
}

/** Undefined for a process that is gone. */
function look(pid: number): Seen | undefined {
  const stat = readProc(pid, "stat");
  if (stat === undefined) return undefined;
  // The name in brackets may hold anything. Behind it: state, parent, ..., the 20th is the start.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { parent: Number(fields[1]), started: fields[19]! };
}
