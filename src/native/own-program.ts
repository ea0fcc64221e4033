import { carried } from "./carried.ts";

/** The argument by which the single executable starts as one of its parts. scripts/start/binary.mjs knows it. */
const PART = "--uvfio-part=";

/** What of uvfio runs as a process of its own. */
export type Part = "main" | "guard-main";

/** The first words of the command line that starts a part. @param module its file in an installed package */
export function ownProgram(part: Part, module: string): readonly [string, ...string[]] {
  return [process.execPath, carried === undefined ? module : `${PART}${part}`];
}
