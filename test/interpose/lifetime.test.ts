import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mountsOfRuns } from "../mounts.ts";
import { Build, isAlive, start } from "./build.ts";

let build: Build;
let client: string;

beforeAll(() => {
  build = new Build();
  client = build.client("interpose-client.c", "client", "-lpthread")!;
});
afterAll(() => build.remove());

/** Children of a process, by the kernel's own list. */
function children(pid: number): number[] {
  const list = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return list === "" ? [] : list.split(" ").map(Number);
}

describe("signals to the supervisor", () => {
  test.each(["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const)("%s reaches the program", async (signal) => {
    const running = start(
      build.command(
        {},
        "sh",
        "-c",
        `trap 'echo got; exit 5' ${signal.slice(3)}; echo ready; while :; do sleep 0.02; done`,
      ),
    );
    await running.says("ready");
    running.child.kill(signal);
    expect(await running.finished).toMatchObject({ status: 5, stdout: "ready\ngot\n" });
  });

  test("SIGINT reaches the program when there is no terminal to send it", async () => {
    const running = start(
      build.command({}, "sh", "-c", "trap 'echo got; exit 6' INT; echo ready; while :; do sleep 0.02; done"),
      { detached: true },
    );
    await running.says("ready");
    running.child.kill("SIGINT");
    expect(await running.finished).toMatchObject({ status: 6, stdout: "ready\ngot\n" });
  });

  test("Ctrl-C reaches the program once, and uvfio waits for it", async ({ skip }) => {
    if (!fs.existsSync("/usr/bin/script")) return skip("no script(1) here");
    const inner = "trap 'echo got' INT; echo ready; n=0; while [ $n -lt 20 ]; do sleep 0.02; n=$((n+1)); done; exit 8";
    const words = build.command({}, "sh", "-c", inner).map((word) => `'${word.replaceAll("'", "'\\''")}'`);
    // exec: a shell that waits for its command would itself end at Ctrl-C.
    const running = start(["script", "-qec", `exec ${words.join(" ")}`, "/dev/null"], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    await running.says("ready");
    running.child.stdin!.write("\x03");
    const { status, stdout } = await running.finished;
    expect(status).toBe(8);
    expect(stdout.split("got")).toHaveLength(2);
  });

  test("a program that does not handle SIGTERM ends with 143", async () => {
    const running = start(build.command({}, client, "hold"));
    await running.says("held");
    running.child.kill("SIGTERM");
    expect((await running.finished).status).toBe(143);
  });

  test("SIGTERM before the program runs ends everything", async () => {
    const running = start(build.command({}, "sleep", "60"));
    await new Promise((resolve) => setTimeout(resolve, 90));
    running.child.kill("SIGTERM");
    const { status, signal } = await running.finished;
    expect(signal ?? status).toSatisfy((end: unknown) => end === 143 || end === "SIGTERM");
  });
});

describe("the end", () => {
  test("processes that the program leaves behind are served until they end", async () => {
    const { status, stdout } = await build.run({}, "sh", "-c", `(sleep 0.3; ${client} request 0x3b65 3) & exit 4`);
    expect([status, stdout]).toEqual([4, "1\n"]);
  });

  test("a signal ends the wait for them, and their calls answer ENOSYS", async () => {
    const out = build.path("left-behind");
    const running = start(build.command({}, "sh", "-c", `${client} hold > ${out} & echo left; exit 0`));
    await running.says("left");
    await new Promise((resolve) => setTimeout(resolve, 300));
    running.child.kill("SIGTERM");
    expect((await running.finished).status).toBe(0);
    await expect
      .poll(() => fs.readFileSync(out, "utf8"), { timeout: 30_000 })
      .toBe(`held\nanswer=-${os.constants.errno.ENOSYS}\n`);
  });

  test("when the supervisor is killed, the program is told and its calls do not hang", async () => {
    // The call may be answered before the program is told, which cannot execute anything by then.
    const script = `trap 'echo told; wait; exit' TERM; ${client} hold & while :; do wait; done`;
    const running = start(build.command({}, "sh", "-c", script));
    await running.says("held");
    const [program] = children(running.child.pid!);
    running.child.kill("SIGKILL");
    const { stdout } = await running.finished;
    expect(stdout.split("\n").sort()).toEqual(["", `answer=-${os.constants.errno.ENOSYS}`, "held", "told"].sort());
    await expect.poll(() => isAlive(program!), { timeout: 30_000 }).toBe(false);
  });

  test("when the supervisor is killed, every process of the program is told, once", async () => {
    const family = build.client("holding.c", "holding")!;
    const running = start(build.command({}, family, "family"));
    await running.says("ready");
    running.child.kill("SIGKILL");
    const { stdout } = await running.finished;
    const all = ["child", "grandchild", "one of another user", "one with mounts of its own", "orphan", "program"];
    expect(stdout.split("\n").sort()).toEqual(["", "ready", ...all.map((name) => `told ${name}`)].sort());
  });

  test("when the host breaks, the program's calls answer ENOSYS and uvfio fails", async () => {
    const host = { log: build.path("fragile.log"), fragile: true };
    const { status, stdout, stderr } = await build.run({ host }, client, "request", "0x3ba8");
    expect([status, stderr]).toEqual([2, "tiny-main: other: the host broke\n"]);
    expect(stdout).toBe("-38\n");
  });

  test("nothing is left behind: no mount, no file, no process", async () => {
    const mounts = mountsOfRuns();
    const files = new Set(fs.readdirSync(os.tmpdir()));
    const running = start(build.command({}, client, "children"));
    const started: number[] = [];
    const watch = setInterval(() => {
      try {
        started.push(...children(running.child.pid!));
      } catch {
        // over
      }
    }, 5);
    await running.finished;
    clearInterval(watch);
    expect(started.length).toBeGreaterThan(0);
    for (const pid of started) expect(isAlive(pid)).toBe(false);
    expect(mountsOfRuns()).toEqual(mounts);
    const left = fs
      .readdirSync(os.tmpdir())
      .filter((name) => !files.has(name) && /graft|vfionotif|interpose-[A-Za-z0-9]{6}$/.test(name));
    expect(left).toEqual([]);
  });

  test("a supervisor does not gather descriptors while programs come and go", async () => {
    const running = start(
      build.command(
        {},
        "sh",
        "-c",
        `for i in 1 2 3 4 5 6 7 8 9 10; do ${client} basic > /dev/null; done; echo done; exec sleep 60`,
      ),
    );
    await running.says("done");
    const links = () =>
      fs.readdirSync(`/proc/${running.child.pid}/fd`).map((fd) => {
        try {
          return fs.readlinkSync(`/proc/${running.child.pid}/fd/${fd}`);
        } catch {
          return "";
        }
      });
    // of the last program it may not have been seen yet
    const ofPrograms = () => links().filter((link) => /memfd|\/mem|fdinfo/.test(link));
    await expect.poll(ofPrograms, { timeout: 10_000 }).toEqual([]);
    expect(links().filter((link) => link.includes("pidfd")).length).toBeLessThan(3);
    running.child.kill("SIGTERM");
    await running.finished;
  });
});

test("gcc is there for these tests", () => {
  expect(spawnSync("gcc", ["--version"]).status).toBe(0);
});
