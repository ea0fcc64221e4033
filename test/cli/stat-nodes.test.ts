import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compile, hasCompiler, scratchFolder, uvfio } from "./uvfio.ts";

const isRoot = process.getuid?.() === 0;
const hasPython = spawnSync("python3", ["-c", ""]).status === 0;
const run = (...command: string[]) => uvfio("run", "--stat-nodes", "-m", "lab", "--", ...command).stdout;

test("stat of a node by any path shows VFIO's numbers, and of other files what they are", () => {
  const stat = "stat -c '%F %t:%T %a'";
  const script = `${stat} /dev/vfio/vfio /dev/null; cd /dev/vfio && ${stat} 2; ln -s /dev/vfio/1 /tmp/uvfio-$$;
    ${stat} -L /tmp/uvfio-$$; ${stat} /tmp/uvfio-$$; rm /tmp/uvfio-$$; test -c 1 && ls -l 1`;
  const [vfio, none, two, followed, link, listed] = run("sh", "-c", script).split("\n");
  expect(vfio).toBe("character special file a:c4 666");
  expect(none).toBe("character special file 1:3 666");
  expect(two).toBe("character special file f0:1 600");
  expect(followed).toBe("character special file f0:0 600");
  expect(link).toMatch(/^symbolic link /);
  expect(listed).toMatch(/^crw------- .* 240, +0 /);
});

test.skipIf(!hasPython || process.arch !== "x64")("by the oldest of the calls, too", () => {
  const script = `import ctypes, os
for number in 4, 6:
    bytes = ctypes.create_string_buffer(144)
    result = ctypes.CDLL(None).syscall(number, b"/dev/vfio/2", bytes)
    rdev = int.from_bytes(bytes[40:48], "little")
    print(result, os.major(rdev), os.minor(rdev))`;
  expect(run("python3", "-c", script)).toBe("0 240 1\n0 240 1\n");
});

test.skipIf(!isRoot || !hasCompiler)("a jailer's copies of nodes are the nodes, in its jail", () => {
  const scratch = scratchFolder();
  mkdirSync(join(scratch.path, "dev"));
  const program = compile("shared-host", scratch.path, "-static");
  const copy = (name: string) =>
    `mknod ${scratch.path}/dev/${name} c $(stat -c '0x%t 0x%T' /dev/vfio/${name}) && chmod 600 ${scratch.path}/dev/${name}`;
  const jail = `${copy("vfio")}; ${copy("1")}; chroot ${scratch.path} /${program.split("/").at(-1)} open /dev/vfio /dev/1`;
  expect(run("sh", "-c", jail)).toBe("open /dev/vfio: ok\nopen /dev/1: ok\n");
  scratch.remove();
});
