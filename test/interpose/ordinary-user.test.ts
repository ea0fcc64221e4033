import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Build, finish, type TinyOptions } from "./build.ts";

/** nobody's usual number: where the tests run as root, these run as somebody else. */
const NOBODY = 65534;
const root = process.getuid?.() === 0;
const user = root ? { uid: NOBODY, gid: NOBODY } : {};
const uid = root ? NOBODY : process.getuid!();

let build: Build;
let client: string;
let usable: boolean;

beforeAll(() => {
  build = new Build();
  client = build.client("interpose-client.c", "client", "-lpthread")!;
  usable =
    spawnSync("unshare", ["--user", "--map-current-user", "--keep-caps", "--mount", process.execPath, "-e", "0"], user)
      .status === 0;
  if (!usable)
    console.warn("left out: user namespaces, unshare(1) or node itself are not usable by an ordinary user here");
});
afterAll(() => build.remove());

const run = (...argv: string[]) => finish(build.command({}, ...argv), { ...user, cwd: "/" });

describe("an ordinary user", () => {
  test("is served through a user namespace", async ({ skip }) => {
    if (!usable) return skip();
    const { stdout, stderr, status } = await run(client, "basic");
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(stdout).toContain("version=0 extension 3=1 2=0\ngroup opened=1 again=-16");
  });

  test("keeps a working directory that it may not enter", async ({ skip }) => {
    if (!usable || !root) return skip();
    const closed = fs.mkdtempSync("/tmp/uvfio-closed-");
    try {
      fs.chmodSync(closed, 0o700);
      const { stdout, stderr } = await finish(build.command({}, "readlink", "/proc/self/cwd"), {
        ...user,
        cwd: closed,
      });
      expect(stderr).toBe("");
      expect(stdout).toBe(`${closed}\n`);
    } finally {
      fs.rmdirSync(closed);
    }
  });

  test("stays the same user, without the capabilities that the namespace has", async ({ skip }) => {
    if (!usable) return skip();
    expect((await run("id", "-u")).stdout).toBe(`${uid}\n`);
    expect((await run("grep", "CapEff", "/proc/self/status")).stdout).toMatch(/^CapEff:\s0+$/m);
    expect((await run(client, "who")).stdout).toBe(`euid=${uid} CAP_IPC_LOCK=0 memlock=65536 locked=2\n`);
  });

  test.each(["regions", "pins", "dma", "kinds", "passing", "last-close", "read-only", "stats", "paths"])(
    "has the same %s as root",
    async (command) => {
      if (!usable) return;
      const mine = await run(client, command);
      const theirs = await build.run({}, client, command);
      expect(mine.stdout).toBe(theirs.stdout);
    },
  );

  test("inherits descriptors, and its terminal's place", async ({ skip }) => {
    if (!usable) return skip();
    const words = build
      .command({})
      .map((word) => `'${word}'`)
      .join(" ");
    const { stdout } = await finish(["/bin/bash", "-c", `${words} cat <(echo passed) 2>&1`], { ...user, cwd: "/" });
    expect(stdout).toBe("passed\n");
  });
});

describe("root", () => {
  test("that becomes somebody else meets the nodes' owners and modes, which chown and chmod change", async ({
    skip,
  }) => {
    if (!root) return skip("not root");
    const log = build.path("modes.log");
    const open = `setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups sh -c 'exec 3<>/dev/vfio/12 && echo opened' 2>/dev/null || echo refused`;
    const script = `${open}; chmod 666 /dev/vfio/12; ${open}; chmod 600 /dev/vfio/12; chown ${NOBODY} /dev/vfio/12; ${open}`;
    const { stdout } = await build.run({ host: { log } }, "sh", "-c", script);
    expect(stdout).toBe("refused\nopened\nopened\n");
    expect(fs.readFileSync(log, "utf8")).toContain(
      `EACCES: /dev/vfio/12 has mode 0600 and belongs to user 0, group 0: the program is user ${NOBODY}`,
    );
  });

  test("has CAP_IPC_LOCK", async ({ skip }) => {
    if (!root) return skip("not root");
    expect((await build.run({}, client, "who")).stdout).toBe("euid=0 CAP_IPC_LOCK=1 memlock=65536 locked=2\n");
  });

  test("in a user namespace has what it had outside", async ({ skip }) => {
    if (!root) return skip("not root");
    const { stdout } = await build.run({ userNamespace: true }, client, "who");
    expect(stdout).toBe("euid=0 CAP_IPC_LOCK=1 memlock=65536 locked=2\n");
  });

  test("without CAP_SYS_ADMIN goes through a user namespace, without CAP_IPC_LOCK if it had none", async ({ skip }) => {
    if (!root) return skip("not root");
    const drop = ["setpriv", "--bounding-set=-sys_admin,-ipc_lock", "--inh-caps=-sys_admin,-ipc_lock"];
    const usableHere = spawnSync(drop[0]!, [...drop.slice(1), "unshare", "-U", "true"]).status === 0;
    if (!usableHere) return skip("setpriv is missing, or user namespaces are refused");
    const { stdout, stderr } = await finish([...drop, ...build.command({}, client, "who")]);
    expect(stderr).toBe("");
    expect(stdout).toBe("euid=0 CAP_IPC_LOCK=0 memlock=65536 locked=2\n");
  });
});

test("no user namespace: one line says what is needed, where mounts are asked for; else the program has none", async ({
  skip,
}) => {
  if (!usable) return skip();
  const run = (options: TinyOptions) => {
    const words = build.command(options, "/bin/true").map((word) => `'${word}'`);
    const script = `echo 0 > /proc/sys/user/max_user_namespaces && exec ${words.join(" ")}`;
    const namespace = ["unshare", "--user", "--map-current-user", "--keep-caps"];
    return finish([...namespace, "sh", "-c", script], { ...user, cwd: "/" });
  };
  const asked = await run({ userNamespace: true, mounts: true });
  expect([asked.status, asked.stderr]).toEqual([
    2,
    "tiny-main: no-user-namespace: without root, uvfio needs unprivileged user namespaces, and is refused one (ENOSPC); sysctl user.max_user_namespaces is 0\n",
  ]);
  const { status, stderr } = await run({ userNamespace: true });
  expect([status, stderr]).toEqual([0, ""]);
});
