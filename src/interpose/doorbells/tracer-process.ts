import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Arena } from "../arena.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { close, syscall } from "../libc.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;

/**
 * Starts the tracer; returns our end of the socket to it, or undefined when it cannot be started. The tracer ends when that is closed. In a
 * session of its own: a terminal's Ctrl-C is for the program.
 */
export function startTracer(): number | undefined {
  const pair = new Arena(8);
  if (syscall(HOST_CALLS.socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.address) < 0) return undefined;
  const [ours, theirs] = [pair.s32(0), pair.s32(4)];
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  const main = fileURLToPath(new URL(`./tracer-main${extension}`, import.meta.url));
  try {
    const child = spawn(process.execPath, [main], {
      stdio: ["ignore", "ignore", "ignore", theirs],
      detached: true,
      cwd: "/",
    });
    // Said when it is asked something: it does not answer.
    child.on("error", () => {});
    child.unref();
  } finally {
    close(theirs);
  }
  return ours;
}
