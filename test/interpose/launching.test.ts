import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mountsOfRuns } from "../mounts.ts";
import { Build, finish } from "./build.ts";
import { hasFuse } from "./fuse.ts";

let build: Build;
let client: string;

beforeAll(() => {
  build = new Build();
  client = build.client("interpose-client.c", "client", "-lpthread")!;
});
afterAll(() => build.remove());

const shell = (script: string) => build.run({}, "/bin/sh", "-c", script);

/** A shell that runs the program of `script` under uvfio as $U. */
function around(script: string): ReturnType<typeof finish> {
  const words = build.command({}).map((word) => `'${word}'`);
  return finish(["/bin/bash", "-c", script.replaceAll("$U", words.join(" "))]);
}

function script(name: string, text: string, mode = 0o755): string {
  const path = build.path(name);
  fs.writeFileSync(path, text, { mode });
  return path;
}

describe("exit status", () => {
  test.each([0, 1, 42, 255])("%i is passed on", async (status) => {
    expect((await build.run({}, client, "exit", String(status))).status).toBe(status);
  });

  test.each([6, 9, 11, 15])("a program that dies of signal %i gives 128 and more", async (signal) => {
    expect((await build.run({}, client, "die", String(signal))).status).toBe(128 + signal);
  });
});

describe("bad input", () => {
  const failure = async (...argv: string[]) => {
    const { status, stderr } = await build.run({}, ...argv);
    expect(status).toBe(2);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    return stderr.trimEnd().replaceAll(build.directory, "DIR");
  };

  test("a program that is not there", async () => {
    expect(await failure("/nonexistent/program")).toBe(
      "tiny-main: program-not-found: /nonexistent/program: no such file",
    );
    expect(await failure("no-such-program")).toBe(
      "tiny-main: program-not-found: no-such-program: not found along PATH",
    );
    expect(await failure("")).toBe("tiny-main: program-not-found: the program's name is empty");
    expect(await failure()).toBe("tiny-main: bad-input: no program is given");
  });

  test("a program that cannot be run", async () => {
    expect(await failure("/tmp")).toBe("tiny-main: not-executable: /tmp: not a file that can be run");
    expect(await failure(script("plain", "text", 0o644))).toBe(
      "tiny-main: not-executable: DIR/plain: no permission to run it",
    );
    expect(await failure(script("no-loader", "#!/nonexistent/sh\n"))).toBe(
      "tiny-main: not-executable: DIR/no-loader: ENOENT (the interpreter or loader that it names is missing)",
    );
  });

  test("a file that is no program for this machine", async () => {
    const elf = Buffer.alloc(64);
    elf.write("\x7fELF\x02\x01\x01", "latin1");
    elf.writeUInt16LE(2, 16);
    elf.writeUInt16LE(243, 18);
    fs.writeFileSync(build.path("riscv"), elf, { mode: 0o755 });
    expect(await failure(build.path("riscv"))).toMatch(
      /wrong-format: DIR\/riscv: made for another machine \(ELF machine 243, this is \w+\)$/,
    );
    expect(await failure(script("words", "echo hello\n"))).toBe(
      "tiny-main: wrong-format: DIR/words: neither an ELF program nor a script with a #! line",
    );
  });

  test("a working directory that is not there", async () => {
    const { status, stderr } = await build.run({ cwd: "/nonexistent" }, "true");
    expect([status, stderr]).toEqual([2, expect.stringContaining("bad-input: cannot enter /nonexistent")]);
  });

  test("uvfio under uvfio", async () => {
    const { status, stderr } = await build.run({}, ...build.command({}, "true"));
    expect([status, stderr]).toEqual([
      2,
      expect.stringContaining("nested: another supervisor already serves this process"),
    ]);
  });
});

describe("the program's world", () => {
  test("the tree is there, and what was there before is too", async () => {
    const { stdout } = await shell(
      "cat /sys/bus/tiny/name /sys/bus/tiny/link; readlink /sys/bus/tiny/link; od -An -tu1 /sys/bus/tiny/raw; " +
        "ls /sys/bus/tiny; ls -d /sys/bus/platform; test -c /dev/null && echo null > /dev/null && echo ok; stat -c %a /dev/vfio/12",
    );
    expect(stdout).toBe("tiny\ntiny\nname\n   0 255   1\nempty\nlink\nname\nraw\n/sys/bus/platform\nok\n600\n");
  });

  test("a file outside of all grafts is covered alone", async () => {
    const { stdout } = await shell("cat /proc/cmdline; test -e /proc/self/status && ls /mnt | wc -l");
    expect(stdout).toBe(`tiny command line\n${fs.readdirSync("/mnt").length}\n`);
    expect(fs.readFileSync("/proc/cmdline", "utf8")).not.toContain("tiny");
  });

  test("nothing of it is seen outside", async () => {
    const before = mountsOfRuns();
    await shell("touch /dev/vfio/mine; mkdir /sys/bus/tiny/mine");
    expect(fs.existsSync("/sys/bus/tiny")).toBe(false);
    expect(mountsOfRuns()).toEqual(before);
  });

  test("a module parameter is what was written last and taken", async ({ skip }) => {
    if (!hasFuse) return skip();
    const number = "/sys/module/tiny/parameters/number";
    const read = `${client} request 0x3bac; cat ${number}`;
    const refused = `sh -c 'echo x > ${number}' 2>&1 | grep -c .`;
    const { stdout } = await shell(
      `${read}; echo 123 > ${number}; printf 5 1<> ${number}; ${read}; ${refused}; ${read}`,
    );
    expect(stdout).toBe("7\n7\n5\n5\n1\n5\n5\n");
  });

  test("files that cannot be served are written down once, and cannot be changed", async () => {
    const command = `cat ${"/sys/module/tiny/parameters/number"}; echo 1 2> /dev/null > /sys/module/tiny/parameters/number || echo refused; ls /sys/bus/tiny`;
    const { stdout } = await build.run({ serveFiles: false }, "sh", "-c", command);
    expect(stdout).toBe("7\nrefused\nempty\nlink\nname\nraw\n");
  });

  test("a script runs, and its children are served", async () => {
    const path = script(
      "script.sh",
      `#!/bin/sh\n${client} request 0x3b65 3\nexec 3<>/dev/vfio/vfio\n${client} inherited 3\nexit 7\n`,
    );
    expect(await build.run({}, path)).toMatchObject({ status: 7, stdout: "1\nexec: inherited=1\n" });
  });

  test("argv[0], environment and working directory are as given", async () => {
    const environment = `env -i A='two words' B= C=$'\\xff\\xfe' PATH="$PATH" `;
    const { stdout } = await around(
      `cd /usr && ${environment} $U /bin/sh -c 'pwd; tr "\\0" "\\n" < /proc/$$/environ | grep -a ^[ABC]= | od -An -c; echo $0 $1' first second`,
    );
    expect(stdout.replace(/\s+/g, " ")).toBe("/usr A = t w o w o r d s \\n B = \\n C = 377 376 \\n first second ");
    const named = await around(`(exec -a other-name $U /bin/sh -c 'tr "\\0" " " < /proc/$$/cmdline')`);
    expect(named.stdout).toMatch(/^\/bin\/sh -c /);
    const bytes = await around(`$U /usr/bin/printf '%s' $'\\xff' | od -An -tx1`);
    expect(bytes.stdout.trim()).toBe("ff");
  });

  test("a working directory below the tree is entered again", async () => {
    const { stdout } = await around("cd /sys/bus && $U ls -d tiny");
    expect(stdout).toBe("tiny\n");
  });

  test("environment and directory can be given", async () => {
    const { stdout } = await build.run({ env: { ONLY: "one" }, cwd: "/sys/bus/tiny" }, "/usr/bin/env");
    expect(stdout).toBe("ONLY=one\n");
  });
});

describe("the process", () => {
  test("has no descriptors that are not its own", async () => {
    const { stdout } = await around("exec 3<&- 4<&-; $U ls /proc/self/fd; ls /proc/self/fd");
    const lines = stdout.trimEnd().split("\n");
    expect(lines.slice(0, lines.length / 2)).toEqual(lines.slice(lines.length / 2));
  });

  test("inherits what the shell opened for it", async () => {
    const { stdout } = await around("exec 3</etc/hostname; $U cat /proc/self/fd/3 <(echo process substitution)");
    expect(stdout).toBe(`${fs.readFileSync("/etc/hostname", "utf8")}process substitution\n`);
  });

  test("has stdin, stdout and stderr as they were", async () => {
    expect((await around("echo in | $U sh -c 'cat; echo out; echo err >&2' 2>&1 | cat")).stdout).toBe("in\nout\nerr\n");
    expect((await around("$U head -c 3 < /etc/passwd")).stdout).toBe("roo");
    expect((await around("$U sh -c 'echo gone' >&-; echo $?")).stdout).toBe("0\n");
  });

  test("sees a terminal where there is one", async ({ skip }) => {
    if (!fs.existsSync("/usr/bin/script")) return skip("no script(1) here");
    const inner = build
      .command({}, "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo terminal")
      .map((w) => `'${w}'`)
      .join(" ");
    const { stdout } = await finish(["script", "-qec", inner, "/dev/null"]);
    expect(stdout).toContain("terminal");
  });

  test("has its signals and limits as before node", async () => {
    const status = await around(
      "ulimit -Sn 321; $U grep -E '^Sig(Ign|Blk)' /proc/self/status; $U sh -c 'ulimit -Sn'; $U sh -c 'ulimit -Hn'; ulimit -Hn",
    );
    const [ignored, blocked, soft, hard, outer] = status.stdout
      .trimEnd()
      .split("\n")
      .map((line) => line.replace(/.*:\s*/, ""));
    const numbers = [ignored, blocked].map((hex) => Number.parseInt(hex!, 16));
    expect(numbers).toEqual([0, 0]);
    expect([soft, hard]).toEqual(["321", outer]);
    const pipe = await around("$U yes | head -n 1; echo $PIPESTATUS");
    expect(pipe.stdout).toBe(`y\n${128 + 13}\n`);
  });
});
