import { Arena } from "../native/arena.ts";
import type { CallChain } from "./call-chain.ts";
import { descriptorLimit } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import { AT_FDCWD, O_CLOEXEC, O_PATH } from "./linux.ts";
import { openPath } from "./path-stat.ts";

/** Descriptors that are kept, where this process may have many; a small part of them where it may not. */
const MOST = 64;
const PART = 1 / 16;
/** Pairs of a thread and a descriptor that were seen once. */
const MAX_SEEN = 256;
/** Above what a descriptor's number is (fs.nr_open at most). */
const DESCRIPTORS = 2 ** 31;
/** Bytes that the first four lines have, with the longest numbers. */
const LENGTH = 128;
const WORDS = LENGTH / 4;
const arena = new Arena(LENGTH);
const ZERO = 0x30;
const COLON = 0x3a;

interface Kept {
  /** Our descriptor of /proc/TID/fdinfo/N. */
  readonly fd: number;
  readonly tid: number;
  /** N. */
  readonly number: number;
  readonly pid: number;
  /** What it was when it was known to be none of our files; 0 of one that is ours. */
  readonly foreignInode: number;
  readonly foreignMount: number;
  /** What it told last, word by word, with its length; and what that is. */
  readonly text: Uint32Array;
  length: number;
  readonly info: FileInfo;
}

/** No file has these numbers. */
const OURS = { inode: 0, mountId: 0 };

/** What the kernel tells of an open file: what it is, and how it was opened. */
export interface FileInfo {
  inode: number;
  /** Of the mount that it was opened through: of all memfds one. */
  mountId: number;
  /** Opened with O_PATH: not for using. */
  isPathOnly: boolean;
  /** It is the file still that note() was told is none of ours. */
  isForeign: boolean;
}

/**
 * Open /proc/TID/fdinfo/N of the descriptors that threads use again and again. Reading one costs half of a stat of
 * /proc/TID/fd/N, because no path is walked. It names the thread itself, not its number: when the thread has ended it
 * cannot be read, whoever has the number since (fs/proc/fd.c:seq_show). What it tells is of the descriptor as it is
 * now.
 */
export class KeptInfos {
  readonly #kept = new Map<number, Kept>();
  readonly #seen = new Set<number>();
  readonly #most = Math.min(MOST, Math.trunc((descriptorLimit() ?? 0) * PART));
  #last: Kept | undefined;
  /** Bytes that were read of the last one already, or a negative errno; undefined when they were not. */
  #ahead: number | undefined;

  /** The descriptor that was asked for last, and of which thread: it is likely to be asked for next. */
  get last(): Kept | undefined {
    return this.#last;
  }

  /** Has a step of a chain read what is told of the last one. */
  putRead(chain: CallChain, step: number, { fd }: Kept): void {
    chain.call(step, HOST_CALLS.pread64, fd, arena.address, LENGTH);
  }

  /** That step was made, with this result, for the call in hand; undefined: it was not. */
  hasRead(length: number | undefined): void {
    this.#ahead = length;
  }

  /** What a descriptor of a thread is; undefined when that is not kept. Valid until the next call. */
  find(tid: number, fd: number): FileInfo | undefined {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    const last = this.#last;
    const isLast = last !== undefined && last.tid === tid && last.number === fd;
    const key = tid * DESCRIPTORS + fd;
    const kept = isLast ? last : this.#kept.get(key);
    if (kept === undefined) return undefined;
    this.#last = kept;
    const isAhead = isLast && ahead !== undefined;
    const length = isAhead ? ahead : syscall(HOST_CALLS.pread64, kept.fd, arena.address, LENGTH, 0);
    if (length > 0 && (isAsBefore(kept, length) || read(kept, length))) return kept.info;
    this.#forget(key, kept);
    return undefined;
  }

  /**
   * A descriptor of a thread was asked for: when it is so the second time, it will be asked for again.
   * @param foreign which file it is when it is none of ours
   */
  note(tid: number, pid: number, fd: number, foreign = OURS): void {
    if (this.#most === 0) return;
    const key = tid * DESCRIPTORS + fd;
    if (!this.#seen.delete(key)) {
      if (this.#seen.size >= MAX_SEEN) this.#seen.clear();
      this.#seen.add(key);
      return;
    }
    const [oldest] = this.#kept;
    if (oldest && this.#kept.size >= this.#most) this.#forget(...oldest);
    const info = openPath(AT_FDCWD, `/proc/${tid}/fdinfo/${fd}`, O_CLOEXEC);
    // it is only quicker
    if (info < 0) return;
    const [foreignInode, foreignMount] = [foreign.inode, foreign.mountId];
    this.#kept.set(key, {
      fd: info,
      tid,
      number: fd,
      pid,
      foreignInode,
      foreignMount,
      text: new Uint32Array(WORDS),
      length: 0,
      info: { inode: 0, mountId: 0, isPathOnly: false, isForeign: false },
    });
  }

  /** What it was kept for is not behind it any more. */
  drop(tid: number, fd: number): void {
    const key = tid * DESCRIPTORS + fd;
    const kept = this.#kept.get(key);
    if (kept) this.#forget(key, kept);
  }

  /** A process is gone. */
  gone(pid: number): void {
    for (const [key, kept] of this.#kept) if (kept.pid === pid) this.#forget(key, kept);
  }

  /** Lets go of all, as when there are no descriptors left. */
  clear(): void {
    for (const [key, kept] of this.#kept) this.#forget(key, kept);
    this.#seen.clear();
  }

  #forget(key: number, kept: Kept): void {
    this.#kept.delete(key);
    if (this.#last === kept) this.#last = undefined;
    close(kept.fd);
  }
}

/** Whether the arena has what was told the last time: what a file is changes seldom. */
function isAsBefore({ text, length }: Kept, end: number): boolean {
  if (length !== end) return false;
  const words = arena.words;
  for (let word = 0; word * 4 < end; word++) if (words[word] !== text[word]) return false;
  return true;
}

/**
 * Reads "pos:", "flags:" (octal), "mnt_id:" and "ino:" (since Linux 5.14), of which each is a line. False when the last
 * is not there.
 */
function read(kept: Kept, end: number): boolean {
  const { bytes, words } = arena;
  const { info, text } = kept;
  kept.length = 0;
  let at = 0;
  for (let line = 0; line < 4; line++) {
    while (at < end && bytes[at] !== COLON) at++;
    // a tab follows
    at += 2;
    let value = 0;
    const base = line === 1 ? 8 : 10;
    for (; at < end && bytes[at]! >= ZERO; at++) value = value * base + bytes[at]! - ZERO;
    if (at >= end) return false;
    if (line === 1) info.isPathOnly = (value & O_PATH) !== 0;
    else if (line === 2) info.mountId = value;
    else if (line === 3) info.inode = value;
  }
  info.isForeign = info.inode === kept.foreignInode && info.mountId === kept.foreignMount;
  for (let word = 0; word < WORDS; word++) text[word] = words[word]!;
  kept.length = end;
  return true;
}
