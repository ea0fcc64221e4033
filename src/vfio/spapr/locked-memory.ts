import type { AddressSpace } from "../../kernel/address-space.ts";
import { fail, hex } from "../../kernel/errors.ts";
import { CAP_IPC_LOCK, type Task } from "../../kernel/task.ts";

/**
 * Charges pages of the host kernel (`pageSize` bytes) to a process (mm/util.c:account_locked_vm). Nothing is looked at
 * for 0 pages. ENOMEM beyond RLIMIT_MEMLOCK, which is inclusive; CAP_IPC_LOCK lifts it.
 * @param space the memory of the caller
 * @param what "the memory region", for the message
 */
export function charge(task: Task, space: AddressSpace, pages: number, pageSize: number, what: string): void {
  if (pages === 0) return;
  const bytes = pages * pageSize;
  const locked = (space.lockedPages + space.foreignLockedPages()) * space.pageSize;
  const limit = task.memlockLimit();
  if (!task.capable(CAP_IPC_LOCK) && locked + bytes > Math.floor(limit / pageSize) * pageSize) {
    fail(
      "ENOMEM",
      `${what} counts as ${hex(bytes)} bytes of locked memory: RLIMIT_MEMLOCK is ${hex(limit)}, ${hex(locked)} are locked; raise the limit (ulimit -l) or give CAP_IPC_LOCK`,
    );
  }
  space.lockedPages += bytes / space.pageSize;
}

/** Takes a charge back. */
export function uncharge(space: AddressSpace, pages: number, pageSize: number): void {
  space.lockedPages -= (pages * pageSize) / space.pageSize;
}
