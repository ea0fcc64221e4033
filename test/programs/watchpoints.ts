import { spawnSync } from "node:child_process";
import { compile, hasCompiler } from "../cli/uvfio.ts";

/**
 * Whether doorbells are exact here. Some virtual machines have debug registers that never stop a program: there a
 * driver that reads on right behind a doorbell fails, because uvfio sees the write a moment later.
 * @param scratch a folder for the program that finds out
 */
export function hasWatchpoints(scratch: string): boolean {
  return hasCompiler && process.arch === "x64" && spawnSync(compile("watchpoint", scratch)).status === 0;
}
