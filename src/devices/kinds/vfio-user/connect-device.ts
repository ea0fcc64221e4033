import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { Connection } from "../../../vfio-user/connection.ts";
import { PeerError } from "../../../vfio-user/peer-error.ts";
import { connectTo, MOST_DESCRIPTORS, removeLeft } from "../../../vfio-user/sockets.ts";
import { RemoteDevice } from "./remote-device.ts";

/** Between two attempts to connect, in milliseconds. */
const ATTEMPT_MS = 10;
/** What a server is given to end by itself, in milliseconds. */
const END_MS = 2000;

/** How a server is reached. */
export interface ServerPlace {
  /** Empty: nobody is. */
  readonly socket: string | undefined;
  readonly command: readonly string[] | undefined;
  /** Milliseconds. */
  readonly timeout: number;
  readonly start: number;
}

/**
 * Connects to the server of a device, which is started first when that is asked. Never throws: a device may be gone.
 */
export function connectDevice({ socket = "", command, timeout, start }: ServerPlace): RemoteDevice {
  const remote = new RemoteDevice(socket);
  if (socket === "") {
    remote.gone("nobody is asked here");
    return remote;
  }
  remote.attempt(() => {
    if (command && removeLeft(socket))
      throw new PeerError("somebody serves there already, and a command is to be started");
    const server = command && startServer(command);
    if (server) {
      // it ends with this process at the latest, which may need its host to its end
      const kill = () => server.kill("SIGTERM");
      process.once("exit", kill);
      remote.onClose(() => {
        process.off("exit", kill);
        endServer(server);
        removeLeft(socket);
      });
    }
    remote.connection = new Connection(reach(socket, server, start), {
      patience: timeout,
      mostDescriptors: MOST_DESCRIPTORS,
    });
  });
  return remote;
}

function startServer([program, ...args]: readonly string[]): ChildProcess {
  const server = spawn(program!, args, { stdio: ["ignore", 2, 2] });
  // what is wrong shows when nobody listens at the socket
  server.on("error", () => {});
  server.unref();
  if (server.pid === undefined) throw new PeerError(`its command cannot be started: ${program}`);
  return server;
}

/** This process's event loop stands still here: a child that has ended is a zombie still. */
function hasEnded({ pid }: ChildProcess): boolean {
  try {
    return /^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return true;
  }
}

function endServer(server: ChildProcess): void {
  if (server.exitCode !== null || server.signalCode !== null || server.pid === undefined) return;
  server.kill("SIGTERM");
  const end = performance.now() + END_MS;
  while (!hasEnded(server)) {
    if (performance.now() > end) {
      server.kill("SIGKILL");
      return;
    }
    sleep(ATTEMPT_MS);
  }
}

/** A descriptor of the socket. @throws PeerError */
function reach(path: string, server: ChildProcess | undefined, patience: number): number {
  const end = performance.now() + patience;
  for (;;) {
    const result = connectTo(path);
    if (typeof result === "number") return result;
    if (result === "EACCES" || result === "EPERM") throw new PeerError(`its socket may not be used (${result})`);
    if (server && hasEnded(server)) throw new PeerError(`its command has ended without serving (${result})`);
    if (performance.now() >= end) throw new PeerError(server ? late(result, patience) : absent(result));
    sleep(ATTEMPT_MS);
  }
}

function late(result: string, patience: number): string {
  return `its command has not served there within ${patience / 1000} s (${result}); the option start gives it longer`;
}

function absent(result: string): string {
  const hint = result === "ENOENT" ? "start its server first, or name its command" : "its server has ended";
  return `nobody serves there (${result}): ${hint}`;
}

function sleep(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
