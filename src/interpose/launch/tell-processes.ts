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

/** A process, and when it was started, as startOf() says: another one may have its number by now. */
export interface Named {
  readonly pid: number;
  readonly started: string;
}

/** When a process was started, in the kernel's ticks; "" when it is gone. */
export function startOf(pid: number): string {
  return look(pid)?.started ?? "";
}

/**
 * Sends SIGTERM, once, to all processes in a mount namespace, and to the descendants of these and of `program`.
 * @param namespace its inode, which the caller holds; 0: none
 */
export function tellAll(namespace: number, program: Named): void {
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

function members(namespace: number, program: Named): Map<number, Seen> {
  const all = new Map<number, Seen>();
  const found = new Map<number, Seen>();
  for (const name of fs.readdirSync("/proc")) {
    const pid = Number(name);
    const seen = Number.isInteger(pid) ? look(pid) : undefined;
    if (seen === undefined) continue;
    all.set(pid, seen);
    const isProgram = pid === program.pid && seen.started === program.started;
    if (isProgram || isIn(pid, namespace)) found.set(pid, seen);
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
