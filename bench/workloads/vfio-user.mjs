import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { alternate, median, times } from "../lib/measure.mjs";

const UVFIO = fileURLToPath(new URL("../../dist/command/main.js", import.meta.url));
const BDF = "0000:01:00.0";
const ROUNDS = { quick: 3, long: 9 };
const COUNT = { quick: 2000, long: 10_000 };

/** Reads 64 KiB of memory when it is told to. */
const MODEL = `import { defineDevice } from "uvfio/device";
const bytes = Buffer.alloc(65536);
export default defineDevice({
  id: "1234:0add",
  bars: {
    0: {
      size: 4096,
      registers: {
        ID: { at: 0, reset: 0xadd, writable: 0 },
        ADDRESS: { at: 8, width: 8 },
        RUN: { at: 16, write: (device) => void device.readMemory(device.get("ADDRESS"), bytes) },
      },
    },
  },
});
`;

function hostFile(programs, name, device) {
  const path = programs.file(name);
  writeFileSync(
    path,
    `name: bench
iommu: { model: intel-vtd, address_bits: 39 }
groups: [{ id: 1, devices: [{ bdf: "${BDF}", id: "1234:0add", ${device} }] }]
`,
  );
  return path;
}

/** One server for both sides: it has one client after the other. */
async function served(programs, use) {
  const socket = programs.file("vfio-user.sock");
  writeFileSync(programs.file("mover.mjs"), MODEL);
  const host = hostFile(programs, "mover.yaml", "model: ./mover.mjs");
  const server = spawn(process.execPath, [UVFIO, "device-server", "-q", "-m", host, BDF, "--socket", socket], {
    stdio: "ignore",
  });
  const ended = new Promise((resolve) => server.on("close", resolve));
  try {
    while (!existsSync(socket)) {
      if (server.exitCode !== null) throw new Error("uvfio device-server has ended");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return use(socket, hostFile(programs, "remote.yaml", `model: vfio-user, options: { socket: ${socket} }`));
  } finally {
    server.kill("SIGTERM");
    await ended;
  }
}

/** @returns {import("../lib/workload.mjs").Workload} */
function workload(kind, name, measures, target, explanation) {
  return {
    name,
    measures,
    baseline: "the same of a client in C that speaks vfio-user itself, to the same server (`bench/c/vfio-user.c`)",
    target,
    explanation,
    run(programs) {
      const client = programs.path("vfio-user");
      const count = String(COUNT[programs.long ? "long" : "quick"]);
      return served(programs, (socket, host) => {
        const own = [];
        const compared = alternate(
          programs.long ? ROUNDS.long : ROUNDS.quick,
          () => {
            const time = median(times(programs.uvfio([client, kind, count, BDF], { host })));
            own.push(time);
            return time;
          },
          () => median(times([client, kind, count, socket])),
        );
        return { ...compared, details: `${Math.round(median(own) / 1000)} microseconds each.` };
      });
    },
  };
}

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  workload(
    "read",
    "vfio-user, a register read",
    "a read of 4 bytes through VFIO from a device that `uvfio device-server` serves",
    { atMost: 10 },
    "Two processes stand between the program and the device in the place of one: the call goes to uvfio, and from there over the socket, and both ways back.",
  ),
  workload(
    "message",
    "vfio-user, 64 KiB of DMA by message",
    "a register write that has the served device read 64 KiB of the program's anonymous memory",
    { atMost: 8 },
    "The server asks for the bytes while its client waits for the answer to the write: uvfio reads them out of the program and sends them over the socket.",
  ),
  workload(
    "shared",
    "vfio-user, 64 KiB of DMA by shared memory",
    "the same of a memfd of the program",
    { atMost: 15 },
    "The server has the program's memfd and reads it without asking: what is left is the register write.",
  ),
];
