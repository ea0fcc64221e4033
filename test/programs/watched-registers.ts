import { spawnSync } from "node:child_process";
import { compile, hasCompiler } from "../cli/uvfio.ts";

/**
 * Whether writes to mapped registers are announced here (userfaultfd): where they are not, a driver that reads on right
 * behind a doorbell fails, because uvfio sees the write a moment later.
 * @param scratch a folder for the program that finds out
 */
export function hasWatchedRegisters(scratch: string): boolean {
  return hasCompiler && process.arch === "x64" && spawnSync(compile("userfaultfd", scratch)).status === 0;
}
