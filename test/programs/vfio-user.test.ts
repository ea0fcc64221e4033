import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compile, finished, hasCompiler, ROOT, scratchFolder, UVFIO } from "../cli/uvfio.ts";
import { serverCommand, whileServed } from "./device-servers.ts";
import { buildLibvfioUser, canBuildLibvfioUser } from "./libvfio-user.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const client = (name: string) => compile(name, scratch.path, "-Wno-unused-function");

/** A host file with one device that is served elsewhere. */
function hostFile(id: string, socket: string, more: object = {}): string {
  const path = join(scratch.path, `host-${Math.random().toString(36).slice(2)}.yaml`);
  const device = { bdf: "0000:01:00.0", id, model: "vfio-user", options: { socket, ...more } };
  writeFileSync(path, JSON.stringify({ ...HOST, groups: [{ id: 1, devices: [device] }] }));
  return path;
}

const newSocket = () => join(scratch.path, `c${Math.random().toString(36).slice(2)}`);
const run = (host: string, ...argv: string[]) =>
  finished(process.execPath, [UVFIO, "run", "-m", host, "--", ...argv], { timeout: 40_000 });

/** Processes whose command line has this in it. */
function processesOf(text: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
    } catch {
      return false;
    }
  });
}

const EDU = `id 010000ed
factorial 120
msi 1
intx 1
intx 1
shared has: by message
own has: by memory
unmapped has: untouched
done
`;

describe.skipIf(!hasCompiler)("a device that another uvfio serves", () => {
  test("interrupts, and moves memory by messages and by what is shared, and not what is unmapped", async () => {
    const program = client("vfio-user-edu");
    const { value, said } = await whileServed(scratch.path, "lab", "0000:03:00.0", (socket) =>
      run(hostFile("1234:11e8", socket), program, "0000:01:00.0"),
    );
    expect(value.stdout, value.stderr + said).toBe(EDU);
    expect(value.stderr).toBe("");
    expect(said).toMatch(/DMA write of 0x40 bytes at iova 0x100000 faults: the client has mapped nothing at 0x100000/);
    expect(said).not.toMatch(/given up/);
  });

  test("is started by its host, and has ended with it", () => {
    const program = client("vfio-user-edu");
    const socket = newSocket();
    const host = hostFile("1234:11e8", socket, {
      command: serverCommand("lab", "0000:03:00.0", socket),
      start: 20_000,
    });
    for (let i = 0; i < 2; i++) {
      const { stdout, stderr } = run(host, program, "0000:01:00.0");
      expect(stdout, stderr).toBe(EDU);
      expect(existsSync(socket)).toBe(false);
      expect(processesOf(socket)).toEqual([]);
    }
  });

  test("that its host has started ends with a command that is no run", () => {
    const socket = newSocket();
    const host = hostFile("1234:11e8", socket, {
      command: serverCommand("lab", "0000:03:00.0", socket),
      start: 20_000,
    });
    const { stdout, stderr, status } = finished(process.execPath, [UVFIO, "iova-list", "-m", host, "0000:01:00.0"]);
    expect({ status, stderr }, stdout).toMatchObject({ status: 0 });
    expect(processesOf(socket)).toEqual([]);
    expect(existsSync(socket)).toBe(false);
  });

  test("takes one client at a time, and the next one when that has gone", async () => {
    const program = client("vfio-user-edu");
    const { said } = await whileServed(scratch.path, "lab", "0000:03:00.0", async (socket) => {
      const host = hostFile("1234:11e8", socket);
      const first = spawn(process.execPath, [UVFIO, "run", "-m", host, "--", "sleep", "3"], { stdio: "ignore" });
      const ended = new Promise((resolve) => first.on("close", resolve));
      await new Promise((resolve) => setTimeout(resolve, 1500));
      const second = run(host, program, "0000:01:00.0");
      expect(second.stderr).toMatch(
        /the device is gone: its server at .*: it has (ended the connection|gone.*) before it said its version: it may have another client/,
      );
      await ended;
      expect(run(host, program, "0000:01:00.0").stdout).toBe(EDU);
    });
    expect(said).toContain("a second client is turned away: the device has one");
  });
});

const hasPython = spawnSync("python3", ["--version"]).status === 0;

test.skipIf(!hasPython)("a device that is served saves its state for a client, and takes it back", async () => {
  const script = join(ROOT, "test/programs/vfio_user_migration.py");
  const { value, said } = await whileServed(scratch.path, "lab", "0000:03:00.0", (socket) =>
    finished("python3", [script, socket]),
  );
  expect(value.stdout, value.stderr + said).toBe("can 7\nfactorial 5040\nchanged 120\nrestored 5040\n");
});

describe.skipIf(!hasCompiler)("a device whose server", () => {
  const program = () => client("vfio-user-gpio");

  test("is not there is gone, and the program goes on", () => {
    const host = hostFile("1234:11e8", newSocket(), { start: 100 });
    const { stdout, stderr, status } = run(
      host,
      "/bin/sh",
      "-c",
      "cat /sys/bus/pci/devices/0000:01:00.0/vendor; echo on",
    );
    expect({ stdout, status }).toEqual({ stdout: "0x1234\non\n", status: 0 });
    expect(
      stderr.match(
        /the device is gone: its server at .*: nobody serves there \(ENOENT\): start its server first, or name its command\n/g,
      ),
    ).toHaveLength(1);
  });

  test("has another device is gone", async () => {
    const { value } = await whileServed(scratch.path, "lab", "0000:03:00.0", (socket) =>
      run(hostFile("1234:0001", socket), program(), "0000:01:00.0"),
    );
    expect(value.stderr).toMatch(
      /the device is gone: its server at .*: it serves 1234:11e8, and the host says 1234:0001/,
    );
  });

  test("says nothing is gone after the timeout", async () => {
    const socket = newSocket();
    const silent = spawn(process.execPath, ["-e", SILENT, socket], { stdio: "ignore" });
    try {
      const start = performance.now();
      const { stderr } = run(hostFile("1234:11e8", socket, { timeout: 300, start: 5000 }), "/bin/true");
      expect(stderr).toMatch(/the device is gone: its server at .*: no answer to VERSION within 0.3 s/);
      expect(performance.now() - start).toBeLessThan(20_000);
    } finally {
      silent.kill("SIGKILL");
    }
  });

  test("is killed reads as all ones, with the reason once", async () => {
    const socket = newSocket();
    const [command, ...args] = serverCommand("lab", "0000:03:00.0", socket);
    const server = spawn(command!, args, { stdio: "ignore" });
    const { stdout, stderr } = run(
      hostFile("1234:11e8", socket, { start: 20_000 }),
      client("vfio-user-killed"),
      "0000:01:00.0",
      `${server.pid}`,
    );
    expect(stdout, stderr).toBe("id 010000ed\ngone ffffffff\ngone ffffffff\nconfig ffff\ndone\n");
    expect(stderr.match(/the device is gone: its server at .*: it has (ended the connection|gone.*)\n/g)).toHaveLength(
      1,
    );
  });

  test("takes its time keeps nobody but who asks it waiting", async () => {
    writeFileSync(join(scratch.path, "slow.mjs"), SLOW);
    const slow = join(scratch.path, "slow.yaml");
    const device = { bdf: "0000:01:00.0", id: "1234:0add", model: "./slow.mjs" };
    writeFileSync(slow, JSON.stringify({ ...HOST, groups: [{ id: 1, devices: [device] }] }));
    const { value, said } = await whileServed(scratch.path, slow, "0000:01:00.0", (socket) => {
      const both = join(scratch.path, "both.yaml");
      const groups = [
        { id: 1, devices: [{ ...device, model: "vfio-user", options: { socket, timeout: 5000 } }] },
        { id: 2, devices: [{ bdf: "0000:02:00.0", id: "1234:11e8" }] },
      ];
      writeFileSync(both, JSON.stringify({ ...HOST, groups }));
      return run(both, client("vfio-user-slow"), "0000:01:00.0", "0000:02:00.0");
    });
    expect(value.stdout, value.stderr + said).toMatch(/^slow 00000007 after \d+ ms$/m);
    const [, longest, count] = /^other 010000ed longest ([\d.]+) count (\d+)$/m.exec(value.stdout)!;
    // it would be all of the time that the slow one takes, and one read
    expect(Number(longest)).toBeLessThan(SLOW_MS / 2);
    expect(Number(count)).toBeGreaterThan(20);
  });

  test("cannot be started is gone, with the command's name", () => {
    const host = hostFile("1234:11e8", newSocket(), { command: ["/nonexistent/server"], start: 1000 });
    expect(run(host, "/bin/true").stderr).toMatch(/the device is gone: .*\/nonexistent\/server/);
  });
});

const HOST = { name: "served", iommu: { model: "intel-vtd", address_bits: 39 } };

const SLOW_MS = 1500;
/** A model that holds its server's thread whenever a register is read. */
const SLOW = `import { defineDevice } from "uvfio/device";
const wait = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${SLOW_MS});
export default defineDevice({
  id: "1234:0add",
  bars: { 0: { size: 4096, registers: { SLOW: { at: 8, read: () => (wait(), 7n) } } } },
});
`;

/** Listens, and answers nothing. */
const SILENT = 'require("node:net").createServer(() => {}).listen(process.argv[1])';

describe("uvfio device-server refuses in a line", () => {
  const refuse = (...args: string[]) => {
    const { status, stderr } = finished(process.execPath, [UVFIO, "device-server", ...args]);
    expect(status).toBe(2);
    return stderr;
  };
  test("what it cannot serve", () => {
    expect(refuse("-m", "lab", "0000:09:00.0", "--socket", newSocket())).toMatch(
      /^uvfio: device "0000:09:00.0" is not on host lab; .*\n$/,
    );
    expect(refuse("-m", "lab", "0000:00:02.0", "--socket", newSocket())).toMatch(
      /^uvfio: 0000:00:02.0 belongs to i915; .*\n$/,
    );
    expect(refuse("-m", "lab", "0000:03:00.0")).toMatch(/^uvfio: .*--socket.*\n$/);
  });
  test("where it cannot serve", async () => {
    expect(refuse("-m", "lab", "0000:03:00.0", "--socket", "/nonexistent/socket")).toBe(
      "uvfio: cannot listen at /nonexistent/socket: ENOENT\n",
    );
    expect(refuse("-m", "lab", "0000:03:00.0", "--socket", "")).toMatch(/^uvfio: the path of a socket is empty/);
    const long = join(scratch.path, "x".repeat(120));
    expect(refuse("-m", "lab", "0000:03:00.0", "--socket", long)).toMatch(
      /^uvfio: the path of a socket has at most 107 bytes/,
    );
    const file = join(scratch.path, "file");
    writeFileSync(file, "");
    expect(refuse("-m", "lab", "0000:03:00.0", "--socket", file)).toBe(
      `uvfio: ${file} is there already, and no socket\n`,
    );
    await whileServed(scratch.path, "lab", "0000:03:00.0", (socket) => {
      expect(refuse("-m", "lab", "0000:03:00.0", "--socket", socket)).toMatch(/somebody serves at .* already/);
    });
  });
});

const canBuild = canBuildLibvfioUser("libvfio-user's samples");

describe.skipIf(!canBuild || !hasCompiler)("libvfio-user's samples as servers (needs UVFIO_LIBVFIO_USER)", () => {
  const folder = join(scratch.path, "libvfio-user");
  const sample = (name: string) => join(folder, "build/samples", name);

  beforeAll(() => buildLibvfioUser(folder), 200_000);

  test("gpio-pci-idio-16 counts its pins", () => {
    const socket = newSocket();
    const host = hostFile("494f:0dc8", socket, { command: [sample("gpio-pci-idio-16"), socket] });
    const { stdout, stderr } = run(host, client("vfio-user-gpio"), "0000:01:00.0");
    // a pin shows every third time that it was raised
    expect(stdout, stderr).toBe("ids 0dc8494f\nbar 2: 256 bytes, flags 3\nin ff\nin ee\nin ee\nin ff\ndone\n");
    expect(processesOf(socket)).toEqual([]);
    expect(existsSync(socket)).toBe(false);
  });

  test("the server sample raises INTx, and reaches memory by messages and by what is shared with it", () => {
    const socket = newSocket();
    const host = hostFile("dead:beef", socket, { command: [sample("server"), "-v", socket] });
    const { stdout, stderr } = run(host, client("vfio-user-server"), "0000:01:00.0");
    const round = "interrupts 1\nmessages ABCD shared ABCD\n";
    expect(stdout, stderr).toBe(`bar 1: written\n${round}${round}done\n`);
    expect(stderr).toContain("do_dma_io: DIRECT success");
    expect(stderr).toContain("do_dma_io: MESSAGE success");
  });

  test("the server sample is mapped where it shares memory, notes its writes, and gives its state to another one", () => {
    const path = join(scratch.path, "servers.yaml");
    const sockets = [newSocket(), newSocket()];
    const groups = sockets.map((socket, i) => ({
      id: i + 1,
      devices: [
        {
          bdf: `0000:0${i + 1}:00.0`,
          id: "dead:beef",
          model: "vfio-user",
          options: { socket, command: [sample("server"), "-v", socket] },
        },
      ],
    }));
    writeFileSync(path, JSON.stringify({ ...HOST, groups }));
    const { stdout, stderr } = run(path, client("vfio-user-states"), "0000:01:00.0", "0000:02:00.0");
    const areas = "flags f cap 1: 0+1000 2000+1000 whole: Invalid argument\n";
    expect(stdout, stderr).toBe(
      `${areas}server has: mapped\nwritten 0\nwritten 10001\nwritten 0\n${areas}before: \nmoved all: mapped\ndone\n`,
    );
    expect(stderr).toContain("do_dma_io: DIRECT success");
    expect(stderr).not.toMatch(/the device is gone/);
  });
});
