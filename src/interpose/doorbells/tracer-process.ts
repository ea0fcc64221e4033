import fs from "node:fs";
import { ownProgram } from "../../native/own-program.ts";
import { socketPair } from "../descriptors.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { close, posixSpawn, syscall } from "../libc.ts";

const WNOHANG = 1;
/** Tracers that are not known to have ended. One ends soon after its socket is closed; nobody waits for that. */
const started = new Set<number>();

/**
 * Starts the tracer; returns our end of the socket to it, or undefined when it cannot be started. The tracer ends when
 * that is closed. In a session of its own: a terminal's Ctrl-C is for the program.
 */
export function startTracer(): number | undefined {
  for (const pid of started) if (syscall(HOST_CALLS.wait4, pid, 0, WNOHANG, 0) !== 0) started.delete(pid);
  const pair = socketPair();
  if (pair === undefined) return undefined;
  const [ours, theirs] = pair;
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  const argv = ownProgram("tracer-main", new URL(`./tracer-main${extension}`, import.meta.url));
  const nothing = fs.openSync("/dev/null", "r+");
  const descriptors = new Map([0, 1, 2].map((fd) => [fd, nothing])).set(3, theirs);
  const pid = posixSpawn({ path: argv[0], argv, descriptors, session: true });
  fs.closeSync(nothing);
  close(theirs);
  if (pid > 0) {
    started.add(pid);
    return ours;
  }
  close(ours);
  return undefined;
}
