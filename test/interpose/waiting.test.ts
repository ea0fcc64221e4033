import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Build, type Finished, isAlive, type Running, start } from "./build.ts";

/** The client's status when this machine, or this user, has not what its command needs. */
const NOT_HERE = 77;
let build: Build;
let client: string;

beforeAll(() => {
  build = new Build();
  client = build.client("waiting-client.c", "client", "-lpthread")!;
});
afterAll(() => build.remove());

/** What a command of the client says; undefined where it cannot be run. */
async function output(...args: string[]): Promise<string | undefined> {
  const { stdout, stderr, status } = await build.run({}, client, ...args);
  if (status === NOT_HERE) {
    console.warn(`left out: waiting-client ${args[0]} is not possible here: ${stdout}`);
    return undefined;
  }
  expect(stderr).toBe("");
  expect(status).toBe(0);
  return stdout;
}

const CALLS = `\
read waits for page 0: others are served=1 a file=1 done=0, then 16
it read "a page's content"
write waits for page 1: others are served=1 a file=1 done=0, then 13
it wrote "written late"
string waits for page 2: others are served=1 a file=1 done=0, then 17
struct waits for page 3: others are served=1 a file=1 done=0, then 0
path waits for page 4: others are served=1 a file=1 done=0, then 1
pin waits for page 5: others are served=1 a file=1 done=0, then 0
DMA=0 "9876543210"
DMA to what was dropped=-14
read-only memory=-14 none=-14
`;

describe("a call whose memory waits for userfaultfd", () => {
  test.each([["call"], ["node"]])(
    "goes on when its page comes, and others are served until then (made by the %s)",
    async (how) => {
      expect((await output("calls", how)) ?? CALLS).toBe(CALLS);
    },
  );

  test("is helped by a handler that makes calls itself", async () => {
    const expected = 'handler: store=1 version=0\nread=16 "from the store"\n';
    expect((await output("handler", build.path("store"))) ?? expected).toBe(expected);
  });

  test.each([["gone"], ["kept"]])("is forgotten when its process is killed (its userfaultfd is %s)", async (kept) => {
    const expected = "the child is gone; others are served=1\n";
    expect((await output("killed", kept)) ?? expected).toBe(expected);
  });

  test("is one of a few: more of a process answer EFAULT, and uvfio says so once", async () => {
    const log = build.path("many.log");
    const { stdout, status } = await build.run({ host: { log } }, client, "many", "40");
    if (status === NOT_HERE) return;
    expect(stdout).toBe("refused: some; others are served=1\nagain=16\n");
    const noticed = fs
      .readFileSync(log, "utf8")
      .split("\n")
      .filter((line) => line.includes("noticed"));
    expect(noticed).toHaveLength(1);
    expect(noticed[0]).toMatch(/wait for pages or files that do not come: further ones answer EFAULT \(process \d+\)/);
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("does not keep %s from the program", async (signal, status) => {
    const running = start(build.command({}, client, "stuck"));
    const begun = await said(running, "stuck\n");
    if (begun === undefined) return;
    process.kill(running.child.pid!, signal);
    expect((await running.finished).status).toBe(status);
    expect(isAlive(running.child.pid!)).toBe(false);
  });
});

/** Waits for a text; undefined when the client cannot do that here. */
async function said(running: Running, text: string): Promise<true | undefined> {
  const ended = running.finished.then((finished: Finished) => finished);
  const outcome = await Promise.race([running.says(text).then(() => true as const), ended]);
  if (outcome === true) return true;
  expect(outcome.status).toBe(NOT_HERE);
  return undefined;
}

test("a device is written to while a program's own write() holds the lock of the memory behind it", async () => {
  const expected = "the device is written to=1 others are served=1\n";
  expect((await output("locked")) ?? expected).toBe(expected);
});

test("files of a FUSE file system that is served in the run are opened, looked at and read from", async () => {
  const folder = build.path("mounted");
  fs.mkdirSync(folder);
  const expected = "open=1 fstat=0 size=10 through a link=0 memory of a file=9\n";
  expect((await output("fuse", folder)) ?? expected).toBe(expected);
});

describe("memory is the memory that was mapped", () => {
  test("a thread that made no call executes another program: it has other memory", async () => {
    expect(await output("exec-by-thread")).toBe('memory=0 pin=0\nafter exec: memory=1 copy=4 "new" pin=0\n');
  });

  test("DMA reaches it after its process has become another program, and does not reach that one", async () => {
    expect(await output("shared-exec")).toBe(
      "DMA=0 small=0 begins \"oo>\" ends '<'\nthe other program's memory changed=0\n",
    );
  });

  test.each([["reads"], ["writes"]])(
    "a process that gets the number of a killed caller is left alone (that %s)",
    async (what) => {
      const expected = "served=1 the heir of the number changed=0\n";
      expect((await output("reused", what)) ?? expected).toBe(expected);
    },
  );
});
