import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { scratchFolder } from "../uvfio.ts";
import { type Ended, expectClearLines, forEach, inShell, PATIENCE } from "./spawned.ts";

const scratch = scratchFolder();
const at = (name: string) => join(scratch.path, name);
afterAll(() => scratch.remove());

const TRACE = [
  { op: "host", version: 1, name: "intel", machine: "intel", kernel: "6.12", argv: [] },
  { op: "open", fd: "container1", path: "/dev/vfio/vfio", flags: "O_RDWR", ret: 0, errno: null, num: 3 },
  { op: "close", fd: "container1", ret: 0, errno: null },
  { op: "end" },
];

/** Every command that writes to stdout, with its exit status when all is well. */
const WRITERS: readonly (readonly [args: readonly string[], status: number])[] = [
  [["--version"], 0],
  [["--help"], 0],
  [["help"], 0],
  [["run", "--help"], 0],
  [["help", "fit"], 0],
  [["hosts"], 0],
  [["hosts", "--json"], 0],
  [["hosts", "lab"], 0],
  [["hosts", "lab", "--json"], 0],
  [["iova-list", "0000:00:1b.0"], 0],
  [["iova-list", "--json", "0000:00:1b.0"], 0],
  [["fit", "-m", "amd", "--memory", "4G"], 0],
  [["fit", "-m", "amd", "--memory", "1011G", "--vmm", "pc-q35-7.0"], 1],
  [["fit", "-m", "amd", "--memory", "4G", "--json"], 0],
  [["trace", at("t.jsonl")], 0],
  [["trace", "--json", at("t.jsonl")], 0],
  [["trace", "--summary", at("t.jsonl")], 0],
  [["replay", at("t.jsonl")], 0],
  [["replay", "--json", at("t.jsonl")], 0],
  [["capture", "--root", at("tree")], 0],
  [["capture", "--root", at("tree"), "-o", "-"], 0],
  [["capture", "--root", at("tree"), "--json"], 0],
  [["completion", "bash"], 0],
  [["completion", "zsh"], 0],
  [["completion", "fish"], 0],
  [["complete", "--", "fit", ""], 0],
  [["man"], 0],
];

beforeAll(() => {
  writeFileSync(at("t.jsonl"), TRACE.map((line) => `${JSON.stringify(line)}\n`).join(""));
  mkdirSync(at("tree/sys/bus/pci/devices"), { recursive: true });
});

/** Runs every command in a way and looks at how it ends. */
async function everyCommand(script: string, check: (run: Ended, what: string, status: number) => void): Promise<void> {
  await forEach(WRITERS, async ([args, status]) => {
    check(await inShell(script, args), args.join(" "), status);
  });
}

describe("every command", () => {
  test(
    "does as it should, else the rest of this file says nothing",
    () =>
      everyCommand('exec "$@"', (run, what, status) => {
        expect(run.status, what).toBe(status);
        expect(run.stdout, what).not.toBe("");
      }),
    PATIENCE,
  );

  test(
    "never exits with 0 when its output is lost on a full disk, and says so in one line",
    () =>
      everyCommand('exec "$@" > /dev/full', ({ status, stderr }, what) => {
        expectClearLines(stderr, what);
        expect(stderr, what).toMatch(/^uvfio: stdout: cannot be written \(ENOSPC: no space left\): output is lost$/m);
        expect(status, what).toBe(2);
      }),
    PATIENCE,
  );

  test(
    "ends quietly where nobody reads, as by SIGPIPE",
    () =>
      // the reader is gone before the first byte
      everyCommand('{ sleep 0.1; "$@"; echo "status $?" >&2; } | true', ({ stderr }, what) => {
        expect(stderr.replaceAll(/^uvfio: missing: .*\n/gm, ""), what).toBe("status 141\n");
      }),
    PATIENCE,
  );

  test(
    "does the same with stdin, stdout and stderr closed, or full",
    async () => {
      await everyCommand('"$@" <&-', (run, what, status) => expect(run.status, what).toBe(status));
      await everyCommand('"$@" >&-', (run, what, status) => {
        expect(run.stderr, what).not.toMatch(/ at /);
        expect(run.status, what).toBe(status);
      });
      await everyCommand('"$@" 2>&-', (run, what, status) => expect(run.status, what).toBe(status));
      await everyCommand('"$@" 2>/dev/full', (run, what, status) => expect(run.status, what).toBe(status));
      await everyCommand('"$@" <&- >&- 2>&-', (run, what, status) => expect(run.status, what).toBe(status));
    },
    4 * PATIENCE,
  );

  test(
    "does the same in a working directory that is gone",
    () =>
      everyCommand(
        `mkdir -p ${at("gone")}.$$; cd ${at("gone")}.$$; rmdir ${at("gone")}.$$; exec "$@"`,
        (run, what, status) => {
          expect(run.status, what).toBe(status);
          expect(run.stderr.replaceAll(/^uvfio: missing: .*\n/gm, ""), what).toBe("");
        },
      ),
    PATIENCE,
  );

  test(
    "does the same with a soft limit of 12 open files",
    () => everyCommand('ulimit -Sn 12; exec "$@"', (run, what, status) => expect(run.status, what).toBe(status)),
    PATIENCE,
  );

  test.skipIf(!mayUnmount())(
    "does the same without /proc (needs to be root)",
    () =>
      everyCommand(`exec unshare -m sh -c 'umount -l /proc; exec "$@"' sh "$@"`, (run, what, status) => {
        expect(run.status, what).toBe(status);
        expect(run.stdout, what).not.toBe("");
      }),
    PATIENCE,
  );
});

function mayUnmount(): boolean {
  return spawnSync("unshare", ["-m", "umount", "-l", "/proc"]).status === 0;
}

describe("uvfio run", () => {
  const opens = "exec 3<> /dev/vfio/vfio; exit 7";

  test.skipIf(!mayUnmount())("needs /proc, and says so", async () => {
    const run = await inShell(`exec unshare -m sh -c 'umount -l /proc; exec "$@"' sh "$@"`, ["run", "--", "true"]);
    expectClearLines(run.stderr, "run");
    expect(run.stderr).toMatch(/^uvfio: \/proc\/self\/fd is not there: .*mount -t proc/);
    expect(run.status).toBe(2);
  });

  test("finds a program by its full path or along PATH from a directory that is gone, and says why not by another", async () => {
    const gone = `mkdir ${at("cwd")}; cd ${at("cwd")}; rmdir ${at("cwd")}; exec "$@"`;
    expect(await inShell(gone, ["run", "--", "/bin/false"])).toMatchObject({ status: 1, stderr: "" });
    expect(await inShell(gone, ["run", "--", "false"])).toMatchObject({ status: 1, stderr: "" });
    const relative = await inShell(gone, ["run", "--", "./prog"]);
    expectClearLines(relative.stderr, "relative");
    expect(relative.stderr).toMatch(/working directory is gone/);
    expect(relative.status).toBe(2);
  });

  test(
    "keeps the program's status when the disk is full under --trace, and says once that the trace is lost",
    async () => {
      // more than one piece of a trace
      const many = "i=0; while [ $i -lt 2000 ]; do exec 3<> /dev/vfio/vfio; i=$((i+1)); done; exit 7";
      for (const program of [opens, many]) {
        const run = await inShell('exec "$@"', ["run", "--trace", "/dev/full", "--", "sh", "-c", program]);
        expect(run.stderr).toBe(
          "uvfio: --trace /dev/full: cannot be written (ENOSPC: no space left): the trace is lost from here on; the program goes on\n",
        );
        expect(run.status).toBe(7);
      }
      const limited = await inShell('ulimit -f 1; trap "" XFSZ; exec "$@"', [
        "run",
        "--trace",
        at("limited"),
        "--",
        "sh",
        "-c",
        many,
      ]);
      expect(limited.stderr).toMatch(/^uvfio: --trace \S+: cannot be written \(EFBIG: .*\n$/);
      expect(limited.status).toBe(7);
    },
    PATIENCE,
  );

  test("writes a trace to stdout for -, and ends quietly when nobody reads it", async () => {
    const run = await inShell('exec "$@"', ["run", "--trace", "-", "--", "sh", "-c", opens]);
    expect(
      run.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).op),
    ).toEqual(["host", "open", "close", "end"]);
    expect(run.status).toBe(7);
    const closed = await inShell('{ "$@"; echo "status $?" >&2; } | true', [
      "run",
      "--trace",
      "-",
      "--",
      "sh",
      "-c",
      `sleep 0.3; ${opens}`,
    ]);
    expect(closed.stderr).toBe("status 7\n");
  });

  test("writes a trace to a pipe that somebody reads", async () => {
    const fifo = at("fifo");
    spawnSync("mkfifo", [fifo]);
    const read = await inShell(`cat ${fifo} & "$@"; status=$?; wait; exit $status`, [
      "run",
      "--trace",
      fifo,
      "--",
      "sh",
      "-c",
      opens,
    ]);
    expect(read.stdout).toMatch(/"op":"end"\}\n$/);
    expect(read.status).toBe(7);
  });

  const NO_FILES: Readonly<Record<string, string>> = {
    "a directory": at("tree"),
    "a folder that is not there": "/nonexistent/trace",
    "a FIFO that nobody reads": at("unread"),
    "a name with control characters": "/nonexistent/\u001b[2J\n",
  };
  test.each(Object.entries(NO_FILES))(
    "--trace and -o refuse %s before anything is run",
    async (what, file) => {
      if (what.startsWith("a FIFO")) spawnSync("mkfifo", [file]);
      for (const args of [
        ["run", "--trace", file, "--", "touch", at("ran")],
        ["capture", "--root", at("tree"), "-o", file],
      ]) {
        const run = await inShell('exec "$@"', args);
        expectClearLines(run.stderr.replaceAll(/^uvfio: missing: .*\n/gm, ""), what);
        expect(run.stderr, what).toMatch(/cannot be written \(/);
        expect(run.status, what).toBe(2);
      }
      expect(existsSync(at("ran"))).toBe(false);
    },
    PATIENCE,
  );

  test("goes on when nobody hears what it says", async () => {
    for (const sink of ["2>&-", "2>/dev/full", "<&- >&- 2>&-"]) {
      const failing = "echo 3<> /dev/vfio/vfio; exit 7";
      const run = await inShell(`"$@" ${sink}`, ["run", "--fault", "open=ENOMEM", "--", "bash", "-c", failing]);
      expect(run.status, sink).toBe(7);
    }
  });
});

test("capture -o never exits with 0 when the file was not written", async () => {
  const run = await inShell('exec "$@"', ["capture", "--root", at("tree"), "-o", "/dev/full"]);
  expect(run.stderr).toMatch(/^uvfio: \/dev\/full: cannot be written \(ENOSPC: no space left\): output is lost$/m);
  expect(run.status).toBe(2);
  const fine = await inShell('exec "$@"', ["capture", "--root", at("tree"), "-o", at("captured.yaml")]);
  expect(fine.status).toBe(0);
  expect(readFileSync(at("captured.yaml"), "utf8")).toMatch(/^name: captured$/m);
  rmSync(at("captured.yaml"));
});
