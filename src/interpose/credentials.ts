import { CAP_DAC_OVERRIDE } from "../kernel/task.ts";
import { Arena } from "../native/arena.ts";
import type { EarlyLooks } from "./early-looks.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { type Assumed, Identity, type Ids } from "./identity.ts";
import type { Owned } from "./injected-file.ts";
import { syscall } from "./libc.ts";
import { LINUX_CAPABILITY_VERSION_3, RLIMIT_MEMLOCK } from "./linux.ts";
import { lastStat, statUserNamespace } from "./path-stat.ts";
import { readProc } from "./proc-file.ts";
import type { Process } from "./process-table.ts";

const CAP_DAC_READ_SEARCH = 2;
const SEARCH_ANYWHERE = (1 << CAP_DAC_OVERRIDE) | (1 << CAP_DAC_READ_SEARCH);
const INFINITE = 2 ** 64;
/** The overflow id: of a thread that is gone. */
const NOBODY = 65534;
const arena = new Arena(64);

/**
 * Who a thread is to the kernel that we play. Capabilities count relative to the user namespace that the program was
 * started in. When that is one that we made (a user without root), being user 0 or fully capable inside means
 * nothing on a real host, so what is answered is what uvfio itself was allowed before: for an ordinary user, nothing.
 */
export class Credentials {
  readonly #allowed: number;
  readonly #allowedHigh: number;
  readonly #namespace: number;
  readonly #madeNamespace: boolean;
  readonly #own = new Identity();
  readonly #early: EarlyLooks;

  /**
   * @param madeNamespace the program runs in a user namespace made for it
   * @param launcher the process it was started as
   * @param early what is known of the caller already
   * @param starter the process that has what is allowed outside of that namespace; 0 for this one
   */
  constructor(madeNamespace: boolean, launcher: number, early: EarlyLooks, starter = 0) {
    this.#early = early;
    this.#madeNamespace = madeNamespace;
    const own = madeNamespace && readCapabilities(starter);
    this.#allowed = madeNamespace ? (own ? arena.u32(8) : 0) : 0xffff_ffff;
    this.#allowedHigh = madeNamespace ? (own ? arena.u32(20) : 0) : 0xffff_ffff;
    this.#namespace = statUserNamespace(launcher) === 0 ? lastStat.inode : 0;
  }

  /** @param process of the thread */
  capable(tid: number, capability: number, process: Process): boolean {
    const isHigh = capability >= 32;
    const effective = this.#early.effective(isHigh) ?? (readCapabilities(tid) ? arena.u32(isHigh ? 20 : 8) : 0);
    const allowed = isHigh ? this.#allowedHigh : this.#allowed;
    if (((effective & allowed) >>> (capability & 31)) % 2 === 0) return false;
    // A program that went into a namespace of its own has its capabilities only there.
    return this.#isKnownInNamespace(tid, process.pid === tid ? process : undefined);
  }

  /**
   * Whether capable() and memlockLimit() take no look: what they answer has been proved. @param process of the thread
   */
  isKnown(tid: number, process: Process): boolean {
    const isInNamespace = process.pid === tid && process.isInNamespace;
    return isInNamespace && this.#early.effective(false) !== undefined && this.#early.memlockLimit !== undefined;
  }

  /** @param process of which it is the first thread, if that is known */
  #isKnownInNamespace(tid: number, process: Process | undefined): boolean {
    if (process === undefined) return this.#isInNamespace(tid);
    process.isInNamespace ||= this.#isInNamespace(tid);
    return process.isInNamespace;
  }

  #isInNamespace(tid: number): boolean {
    return statUserNamespace(tid) === 0 && lastStat.inode === this.#namespace;
  }

  /**
   * What decides about a path when another thread walks along it: its filesystem user, its groups, and the capabilities
   * that override permissions.
   * @param process of which it is the first thread, if that is known
   */
  assume(tid: number, process?: Process): Assumed {
    const ids = readIds(tid);
    // In a namespace that we made, or one that the program made, such capabilities reach only files of the users that
    // are in it.
    const isOurs = !this.#madeNamespace && this.#isKnownInNamespace(tid, process);
    const overrides = isOurs && readCapabilities(tid) ? arena.u32(8) & SEARCH_ANYWHERE : 0;
    return this.#own.assume(ids, overrides);
  }

  /** As this process sees it: the real user, also for one who is user 0 in a namespace of ours. */
  euid(tid: number): number {
    return readIds(tid).euid;
  }

  /** The soft RLIMIT_MEMLOCK in bytes. */
  memlockLimit(tid: number): number {
    const early = this.#early.memlockLimit;
    if (early !== undefined) return early;
    if (syscall(HOST_CALLS.prlimit64, tid, RLIMIT_MEMLOCK, 0, arena.address) < 0) return memlockFromText(tid);
    const limit = arena.u64(0);
    return limit >= INFINITE ? Number.POSITIVE_INFINITY : limit;
  }

  /** inode_permission() for an open of a file: why not, or undefined when it may. */
  refusal(
    tid: number,
    ids: Ids,
    { mode, uid, gid }: Owned,
    wish: { read: boolean; write: boolean },
  ): string | undefined {
    const { read, write } = wish;
    const wanted = (read ? 4 : 0) | (write ? 2 : 0);
    const granted = ids.fsuid === uid ? mode >> 6 : ids.fsgid === gid || ids.groups.includes(gid) ? mode >> 3 : mode;
    if ((granted & wanted) === wanted) return undefined;
    // The filesystem belongs to the namespace that the program was started in: capabilities there count in full,
    // whatever uvfio itself was allowed outside. Those in a namespace that the program made do not.
    if (this.#isInNamespace(tid) && readCapabilities(tid)) {
      const effective = arena.u32(8);
      if (((effective >> CAP_DAC_OVERRIDE) & 1) === 1) return undefined;
      if (!write && ((effective >> CAP_DAC_READ_SEARCH) & 1) === 1) return undefined;
    }
    const permissions = (mode & 0o777).toString(8).padStart(4, "0");
    return `has mode ${permissions} and belongs to user ${uid}, group ${gid}: the program is user ${ids.fsuid}`;
  }
}

/** capget() of a thread: struct __user_cap_header_struct @0, then {effective, permitted, inheritable}[2] @8. */
function readCapabilities(tid: number): boolean {
  arena.setU32(0, LINUX_CAPABILITY_VERSION_3);
  arena.setU32(4, tid);
  return syscall(HOST_CALLS.capget, arena.address, arena.address + 8) === 0;
}

// Uid and Gid: real, effective, saved, filesystem
const IDS =
  /^Tgid:\s+(\d+)$[\s\S]*?^Uid:\s+\d+\s+(\d+)\s+\d+\s+(\d+)$[\s\S]*?^Gid:\s+\d+\s+\d+\s+\d+\s+(\d+)$[\s\S]*?^Groups:(.*)$/m;

function readIds(tid: number): Ids {
  const found = IDS.exec(readProc(tid, "status") ?? "");
  if (!found) return { euid: NOBODY, fsuid: NOBODY, fsgid: NOBODY, groups: [], pid: tid };
  const [, pid, euid, fsuid, fsgid, groups] = found;
  return {
    euid: Number(euid),
    fsuid: Number(fsuid),
    fsgid: Number(fsgid),
    groups: groups!.split(/\s+/).filter(Boolean).map(Number),
    pid: Number(pid),
  };
}

function memlockFromText(tid: number): number {
  const soft = /^Max locked memory\s+(\S+)/m.exec(readProc(tid, "limits") ?? "")?.[1];
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft ?? 0);
}
