import { Arena } from "../native/arena.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { syscall } from "./libc.ts";
import { LINUX_CAPABILITY_VERSION_3 } from "./linux.ts";

/** User and group ids as file permissions look at them. */
export interface Ids {
  readonly euid: number;
  readonly fsuid: number;
  readonly fsgid: number;
  readonly groups: readonly number[];
  /** The thread's process. */
  readonly pid: number;
}

/** Somebody else, for looks along a path. */
export interface Assumed extends Ids {
  /** Their rights are ours. */
  readonly isOurs: boolean;
  /**
   * Makes system calls with their rights, and nothing else: a thread that is started meanwhile would keep them.
   * Undefined when this process may not have them.
   */
  during<T>(act: () => T): T | undefined;
}

/** NGROUPS_MAX */
const MAX_GROUPS = 65_536;
/** CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH. */
const OVERRIDES = 0b110;
/** Asks setfsuid() and setfsgid() for what they are: no user has this number. */
const NONE = -1;
// struct __user_cap_header_struct @0, then {effective, permitted, inheritable}[2] @8
const EFFECTIVE = 8;
const EFFECTIVE_HIGH = 20;
const capabilities = new Arena(32);
const groupList = new Arena(4 * MAX_GROUPS);

/**
 * Who this thread is when it looks for files. Other threads are not changed: these are the system calls themselves, not
 * libc's, which change all.
 */
export class Identity {
  /**
   * Of this thread, when it is nobody else. Asked for when programs are served: it has given up by then what it gives
   * up.
   */
  #capabilities: { readonly low: number; readonly high: number } | undefined;
  readonly #fsuid = syscall(HOST_CALLS.setfsuid, NONE);
  readonly #fsgid = syscall(HOST_CALLS.setfsgid, NONE);
  readonly #groups = ownGroups();

  /**
   * Somebody else. As root only; others can be only who they are.
   * @param overrides of OVERRIDES, the capabilities that are kept, as far as this process has them
   */
  assume(ids: Ids, overrides: number): Assumed {
    this.#capabilities ??= readCapabilities();
    const { low, high } = this.#capabilities;
    const wanted = ((low & ~OVERRIDES) | (low & overrides)) >>> 0;
    const { fsuid, fsgid, groups } = ids;
    const isSame = fsuid === this.#fsuid && fsgid === this.#fsgid && sameNumbers(groups, this.#groups);
    if (isSame && wanted === low) return { ...ids, isOurs: true, during: (act) => act() };
    const during = <T>(act: () => T): T | undefined => {
      try {
        // A user number other than 0 takes these capabilities away, and 0 brings them back (capabilities(7)): they are
        // set last.
        const is = (isSame || this.#become(fsuid, fsgid, groups)) && setEffective(wanted, high);
        return is ? act() : undefined;
      } finally {
        this.#become(this.#fsuid, this.#fsgid, this.#groups);
        setEffective(low, high);
      }
    };
    return { ...ids, isOurs: false, during };
  }

  #become(fsuid: number, fsgid: number, groups: readonly number[]): boolean {
    if (groups.length > MAX_GROUPS) return false;
    for (const [index, group] of groups.entries()) groupList.setU32(4 * index, group);
    const isSet = syscall(HOST_CALLS.setgroups, groups.length, groupList.address) === 0;
    syscall(HOST_CALLS.setfsgid, fsgid);
    syscall(HOST_CALLS.setfsuid, fsuid);
    return isSet && syscall(HOST_CALLS.setfsgid, NONE) === fsgid && syscall(HOST_CALLS.setfsuid, NONE) === fsuid;
  }
}

/** Without the group of files, which process.getgroups() adds. */
function ownGroups(): number[] {
  const count = syscall(HOST_CALLS.getgroups, MAX_GROUPS, groupList.address);
  return Array.from({ length: Math.max(count, 0) }, (_, index) => groupList.u32(4 * index));
}

/** The effective capabilities of this thread: 0 to 31, and those from 32 on. */
export function readCapabilities(): { readonly low: number; readonly high: number } {
  capabilities.setU32(0, LINUX_CAPABILITY_VERSION_3);
  capabilities.setU32(4, 0);
  syscall(HOST_CALLS.capget, capabilities.address, capabilities.address + EFFECTIVE);
  return { low: capabilities.u32(EFFECTIVE), high: capabilities.u32(EFFECTIVE_HIGH) };
}

/** Of this thread alone. False, and nothing changes, when one of them is not permitted. */
export function setEffective(low: number, high: number): boolean {
  readCapabilities();
  capabilities.setU32(EFFECTIVE, low >>> 0);
  capabilities.setU32(EFFECTIVE_HIGH, high >>> 0);
  return syscall(HOST_CALLS.capset, capabilities.address, capabilities.address + EFFECTIVE) === 0;
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((number) => b.includes(number));
}
