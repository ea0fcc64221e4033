import { readFileSync } from "node:fs";

const MIB = 1024 * 1024;
/** What is left for the program itself. */
const REST = 4 * MIB;

/**
 * Whether programs may have so much memory of a guest pinned, as VFIO asks it of an ordinary user: within
 * RLIMIT_MEMLOCK. root has CAP_IPC_LOCK, and no limit. Says so when they may not.
 * @param what the tests that need it
 */
export function mayLock(mebibytes: number, what: string): boolean {
  if (process.getuid?.() === 0) return true;
  const limit = /^Max locked memory\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1];
  if (limit === "unlimited" || Number(limit) >= mebibytes * MIB + REST) return true;
  console.log(
    `${what}: skipped, this user may lock ${Number(limit) / MIB} MiB (ulimit -l), and ${mebibytes} are needed`,
  );
  return false;
}
