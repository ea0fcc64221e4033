import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { ROOT, UVFIO } from "../cli/uvfio.ts";

/** The command that serves a device at a socket. */
export function serverCommand(host: string, bdf: string, socket: string): string[] {
  return [process.execPath, UVFIO, "device-server", "-m", host, bdf, "--socket", socket];
}

/** A device server that runs while something is done with its socket; it has left nothing when that is over. */
export async function whileServed<T>(
  folder: string,
  host: string,
  bdf: string,
  use: (socket: string, pid: number) => T | Promise<T>,
): Promise<{ readonly value: T; readonly said: string }> {
  const socket = join(folder, `s${Math.random().toString(36).slice(2)}`);
  const [program, ...args] = serverCommand(host, bdf, socket);
  const server = spawn(program!, args, { cwd: ROOT, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  server.stderr.on("data", (data) => {
    said += data;
  });
  const ended = new Promise<void>((resolve) => server.on("close", () => resolve()));
  try {
    for (let i = 0; i < 1000 && !said.includes("is served at") && server.exitCode === null; i++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(said).toContain("is served at");
    const value = await use(socket, server.pid!);
    // what it says arrives in turns of the event loop
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.exitCode, said).toBe(null);
    return { value, said };
  } finally {
    server.kill("SIGTERM");
    await ended;
    expect(existsSync(socket)).toBe(false);
  }
}
