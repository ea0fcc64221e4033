import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { compile, finished, hasCompiler, scratchFolder, UVFIO, uvfio } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const led = (...program: string[]) => uvfio("run", "-m", "lab", "--no-mounts", "--", ...program);
const script = (text: string) => led("sh", "-c", text);
const BDF = "0000:01:00.0";
const DEVICE = `/sys/bus/pci/devices/${BDF}`;

const RENAMES = `
  const fs = require("node:fs");
  fs.mkdirSync("from/folder", { recursive: true });
  fs.mkdirSync("to");
  for (;;) {
    fs.renameSync("from/folder", "to/folder");
    fs.renameSync("to/folder", "from/folder");
  }`;

describe("a program that gets no mounts", () => {
  test.each([
    ["reads a file", `cat ${DEVICE}/vendor`, "0x8086\n"],
    ["follows links", `cat ${DEVICE}/iommu_group/type`, "DMA\n"],
    ["finds where a link leads", `readlink ${DEVICE}/iommu_group`, "../../../kernel/iommu_groups/1\n"],
    ["follows a path to its end", `realpath ${DEVICE}`, `/sys/devices/pci0000:01/${BDF}\n`],
    ["lists a directory", "ls /sys/kernel/iommu_groups/1/devices", `${BDF}\n`],
    [
      "goes down from a directory that it has opened",
      "find /sys/kernel/iommu_groups/1 -name reserved_regions | wc -l",
      "1\n",
    ],
    ["asks for its rights", `test -r ${DEVICE}/vendor && ! test -e ${DEVICE}/nothing && echo yes`, "yes\n"],
    [
      "sees sizes and kinds",
      `stat -c '%F %s' ${DEVICE}/config /dev/vfio/vfio`,
      "regular file 4096\ncharacter special file 0\n",
    ],
    ["lists nodes with their rights", "ls -l /dev/vfio/vfio | cut -c1-10", "crw-rw-rw-\n"],
    ["names a path from where it is", "cd /sys/kernel && cat iommu_groups/1/type", "DMA\n"],
    ["writes paths in other ways", `cat /sys//bus/./pci/devices/${BDF}/../${BDF}/vendor`, "0x8086\n"],
    ["has all else of the machine", "test -e /sys/class/net && test -c /dev/null && echo yes", "yes\n"],
  ])("%s", (_, text, stdout) => {
    expect(script(text)).toEqual({ status: 0, stdout, stderr: "" });
  });

  test("is refused to write to the host's files, and hears why", () => {
    const { status, stderr } = script(`echo vfio-pci > ${DEVICE}/driver_override`);
    expect(stderr).toContain("EROFS: without mounts the host's files cannot be written");
    expect(status).not.toBe(0);
  });

  test("follows links while files are renamed on the machine", () => {
    // the kernel cannot tell then where ".." leads, and has openat2() tried once more
    const renamer = spawn(process.execPath, ["-e", RENAMES], { cwd: scratch.path, stdio: "ignore" });
    try {
      const often = `for i in $(seq 100); do cat ${DEVICE}/vendor; done | sort | uniq -c`;
      expect(script(often)).toEqual({ status: 0, stdout: "    100 0x8086\n", stderr: "" });
    } finally {
      renamer.kill();
    }
  });

  test("hears why a node is not there", () => {
    const { stderr } = led("cat", "/dev/vfio/77");
    expect(stderr).toMatch(/\/dev\/vfio\/77\S* = ENOENT: /);
  });

  test("is in the mount namespace that uvfio is in, and leaves nothing", () => {
    const { stdout } = led("readlink", "/proc/self/ns/mnt");
    expect(stdout).toBe(finished("readlink", ["/proc/self/ns/mnt"]).stdout);
    expect(readdirSync("/dev/shm").filter((name) => name.startsWith("uvfio-host-"))).toEqual([]);
  });

  test("is no guest of a served host", () => {
    const { status, stderr } = uvfio("run", "--no-mounts", "--on", "/nowhere", "--", "true");
    expect(stderr).toBe("uvfio: --no-mounts and --on: a served host is shown by mounts; leave out --on\n");
    expect(status).toBe(2);
  });

  test.skipIf(!hasCompiler)("takes interrupts and has DMA (needs gcc)", () => {
    const driver = compile("ioat-driver", scratch.path);
    const { status, stdout } = led(driver, "3", BDF, "0000:02:00.0");
    expect(stdout.split("\n").sort()).toEqual(["", `${BDF}: ok`, "0000:02:00.0: ok"]);
    expect(status).toBe(0);
  });

  test.skipIf(!hasCompiler)("maps files that are memory (needs gcc)", () => {
    const client = compile("iommufd-edu", scratch.path);
    const run = (...mode: string[]) =>
      finished(process.execPath, [
        UVFIO,
        "run",
        "-m",
        "lab",
        "--kernel",
        "7.2",
        ...mode,
        "--",
        client,
        "0000:03:00.0",
        "files",
      ]);
    expect(run("--no-mounts").stdout).toBe(run().stdout);
  });
});
