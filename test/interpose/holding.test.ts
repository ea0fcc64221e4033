import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Build, finish } from "./build.ts";

const NOBODY = 65534;
const root = process.getuid?.() === 0;

let build: Build;
let client: string;

beforeAll(() => {
  build = new Build();
  client = build.client("holding.c", "holding", "-lpthread")!;
});
afterAll(() => build.remove());

const run = async (command: string) => (await build.run({}, client, command)).stdout;
const ordinary = async (...argv: string[]) =>
  (await finish(build.command({}, ...argv), root ? { uid: NOBODY, gid: NOBODY, cwd: "/" } : {})).stdout;

function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word}'`).join(" ");
}

describe("an open through /proc/self/fd", () => {
  test("is one of the node anew; what has no node cannot be opened", async () => {
    expect(await run("reopen")).toBe(
      [
        "group: -16, for reading: -16",
        "container: 0 and 0, itself 0",
        // what has no node has no permissions either, which only root does not see
        `device: -6, for reading: ${process.getuid?.() === 0 ? -6 : -13}`,
        "afterwards: group 0 device 0",
        "after the last close: 0",
        "",
      ].join("\n"),
    );
  });

  test("is no way around permissions for an ordinary user", async () => {
    expect(await ordinary(client, "reopen")).toContain("device: -6, for reading: -13\n");
  });

  test("with O_PATH gives a descriptor that takes no request and is handed to none", async () => {
    expect(await run("path-only")).toBe(
      "node -9, container -9, itself 0\nkinds: eventfd 2, by path 0, container 10, by path 0\n",
    );
  });
});

describe("descriptors", () => {
  test("are the same file in another process that takes them, and stay open there", async () => {
    const text = "all closed: -9, taken: 0 0, held alone: 0, busy -16, let go: 1\n";
    expect(await run("taken")).toBe(text);
    expect(await ordinary(client, "taken")).toBe(text);
  });

  test("that io_uring opens become the real thing at their first use", async () => {
    expect(await run("io-uring")).toSatisfy((text: string) =>
      ["none here\n", "opened: 1, served: 0, busy: -16\na group is read: -22\n"].includes(text),
    );
  });

  test("are had in another root too, after chroot and pivot_root", async ({ skip }) => {
    if (!root) return skip("not root");
    expect(await run("another-root")).toBe("chroot: 1\npivot_root: 0, busy -16, the old one gone: 1\n");
  });
});

test("an eventfd that is full holds nobody up", async () => {
  expect(await run("full-event")).toBe("raised: 0 raised: 0 highest: 1\n");
});

test("an eventfd that is filled up meanwhile holds nobody up", async () => {
  expect(await run("filled-event")).toBe("raised: 3000\n");
});

test("a program that is ended for want of memory leaves nothing, and others go on", async ({ skip }) => {
  const group = `/sys/fs/cgroup/memory/uvfio-test-${process.pid}`;
  const limit = fs.existsSync("/sys/fs/cgroup/memory") ? "memory.limit_in_bytes" : "memory.max";
  const folder = limit === "memory.max" ? group.replace("/memory/", "/") : group;
  try {
    fs.mkdirSync(folder);
    fs.writeFileSync(`${folder}/${limit}`, String(24 * 2 ** 20));
  } catch (error) {
    if (fs.existsSync(folder)) fs.rmdirSync(folder);
    return skip(`no control group can be made: ${error}`);
  }
  try {
    // it has a container open, and takes memory until it has none any more
    const hungry = `echo 0 > ${folder}/cgroup.procs && exec 3<>/dev/vfio/vfio && exec tail /dev/zero`;
    const { stdout, status } = await build.run(
      {},
      "sh",
      "-c",
      `(${hungry}); echo $?; exec 3<>/dev/vfio/vfio && echo served`,
    );
    expect([stdout, status]).toEqual(["137\nserved\n", 0]);
  } finally {
    fs.rmdirSync(folder);
  }
});

test("without descriptors left uvfio says so once, answers ENFILE, and goes on when some are closed", async () => {
  const log = build.path("shortage.log");
  const words = quoted(build.command({ host: { log } }, client, "shortage"));
  const { stdout } = await finish(["/bin/bash", "-c", `ulimit -n 60; exec ${words}`]);
  expect(stdout).toBe(`${"some: 1, then -23, the last 0, others 1\n".repeat(2)}afterwards: 0\n`);
  const said = fs.readFileSync(log, "utf8").split("\n");
  expect(said.filter((line) => line.includes("broken"))).toEqual([
    JSON.stringify({
      broken:
        "uvfio has no descriptor left (it may have 60: raise that with ulimit -n): programs get ENFILE where it needs one for them, until some are closed",
    }),
  ]);
});

describe("rights", () => {
  test("uvfio as root serves with the capabilities that serving takes", async ({ skip }) => {
    if (!root) return skip("not root");
    const { stdout } = await build.run(
      {},
      "sh",
      "-c",
      "grep Cap[EP] /proc/$PPID/status; grep CapEff /proc/self/status",
    );
    const [permitted, effective, programs] = stdout.match(/[0-9a-f]{16}/g)!.map((text) => BigInt(`0x${text}`));
    // CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, KILL, SETGID, SETUID, SYS_PTRACE, MKNOD, LEASE
    expect(effective).toBe(permitted! & 0x1808_00e7n);
    expect(programs).toBe(permitted);
  });

  test("an opened file has the owner and the permissions of its node", async ({ skip }) => {
    if (!root) return skip("not root");
    const script = `chown 7:8 /dev/vfio/12; chmod 640 /dev/vfio/12; exec 3<>/dev/vfio/12; stat -L -c '%u %g %a' /proc/self/fd/3`;
    expect((await build.run({}, "bash", "-c", script)).stdout).toBe("7 8 640\n");
  });

  test("capabilities in a namespace that the program made open no node", async ({ skip }) => {
    if (!root) return skip("not root");
    const open = "sh -c 'exec 3<>/dev/vfio/12 && echo opened' 2>/dev/null || echo refused";
    const script = `chmod 600 /dev/vfio/12; setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups unshare -Ur ${open}`;
    expect((await build.run({}, "sh", "-c", script)).stdout).toBe("refused\n");
  });

  test("who is in no group is not in group 0", async ({ skip }) => {
    if (!root) return skip("not root");
    const as = `setpriv --reuid=${NOBODY} --regid=${NOBODY}`;
    const open = "sh -c 'exec 3<>/dev/vfio/12 && echo opened' 2>/dev/null || echo refused";
    const script = `chmod 660 /dev/vfio/12; ${as} --clear-groups ${open}; ${as} --groups 0 ${open}`;
    expect((await build.run({}, "sh", "-c", script)).stdout).toBe("refused\nopened\n");
  });
});
