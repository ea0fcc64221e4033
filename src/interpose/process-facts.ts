import fs from "node:fs";

/** struct rlimit; Infinity for none. */
export interface Limit {
  readonly soft: number;
  readonly hard: number;
}

/**
 * The limit of open files that uvfio was started with. node has raised the soft one to the hard one before any
 * JavaScript ran, so the parent's is taken: limits are inherited, and few programs change them between fork and exec.
 * @returns numbers of files, or null when the parent says nothing useful
 */
export function inheritedOpenFiles(): Limit | null {
  const mine = openFiles("self");
  const parents = openFiles(String(process.ppid));
  if (mine === undefined || parents === undefined) return null;
  return parents.soft < mine.soft ? { soft: parents.soft, hard: mine.hard } : null;
}

function openFiles(pid: string): Limit | undefined {
  const count = (text: string) => (text === "unlimited" ? Number.POSITIVE_INFINITY : Number(text));
  try {
    const line = /^Max open files\s+(\S+)\s+(\S+)/m.exec(fs.readFileSync(`/proc/${pid}/limits`, "utf8"));
    return line ? { soft: count(line[1]!), hard: count(line[2]!) } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * How large a file may become that this process or its children write; a longer one is a signal that ends them
 * (SIGXFSZ).
 */
export function fileSizeLimit(): number {
  const text = /^Max file size\s+(\S+)/m.exec(fs.readFileSync("/proc/self/limits", "utf8"))?.[1];
  return text === undefined || text === "unlimited" ? Number.POSITIVE_INFINITY : Number(text);
}

/** Whether this process may mount: CAP_SYS_ADMIN in its effective set. */
export function mayMount(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(fs.readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${effective}`) >> 21n) & 1n) === 1n;
}

/** Whether system calls of this process are filtered (seccomp): a container engine does that. */
export function hasFilter(): boolean {
  return /^Seccomp:\s*2/m.test(fs.readFileSync("/proc/self/status", "utf8"));
}

/**
 * This process' environment as it was given, byte for byte: process.env would turn bytes that are not UTF-8 into
 * others.
 */
export function ownEnvironment(): Buffer[] {
  return splitAtNul(fs.readFileSync("/proc/self/environ"));
}

/** The last `count` arguments of this process, byte for byte. */
export function ownArguments(count: number): Buffer[] {
  return count === 0 ? [] : splitAtNul(fs.readFileSync("/proc/self/cmdline")).slice(-count);
}

function splitAtNul(bytes: Buffer): Buffer[] {
  const texts: Buffer[] = [];
  for (let from = 0; from < bytes.length; ) {
    const end = bytes.indexOf(0, from);
    const to = end < 0 ? bytes.length : end;
    texts.push(bytes.subarray(from, to));
    from = to + 1;
  }
  return texts;
}

/**
 * Descriptors above 2 that this process was started with, for the program to inherit (`<(command)` of a shell is one).
 * Call it before anything else is opened. node has marked all of them and has its own in between: what is anonymous
 * (epoll, eventfd), /dev/null, pipes of which it holds both ends, and the channel of a node that another node forked.
 */
export function inheritedDescriptors(): number[] {
  const targets = new Map<number, string>();
  for (const name of fs.readdirSync("/proc/self/fd")) {
    try {
      if (Number(name) > 2 && name !== process.env.NODE_CHANNEL_FD)
        targets.set(Number(name), fs.readlinkSync(`/proc/self/fd/${name}`));
    } catch {
      // the descriptor of the directory listing itself
    }
  }
  const ends = new Map<string, number>();
  for (const target of targets.values()) ends.set(target, (ends.get(target) ?? 0) + 1);
  const nodes = (target: string) =>
    target.startsWith("anon_inode:") ||
    target === "/dev/null" ||
    (target.startsWith("pipe:") && ends.get(target) === 2);
  return [...targets].filter(([, target]) => !nodes(target)).map(([fd]) => fd);
}

/** Whether the terminal sends its signals (Ctrl-C) to this process' group: then a program in it gets them by itself. */
export function inForeground(): boolean {
  const stat = fs.readFileSync("/proc/self/stat", "utf8");
  // The name in brackets may hold anything; pgrp is the 3rd field behind it and tpgid the 6th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[2] === fields[5];
}
