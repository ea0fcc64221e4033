import { spawnSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, scratchFolder } from "../cli/uvfio.ts";
import { ROOT } from "./clean-copy.ts";
import { type ContainerOptions, Containers, canRunContainers, type Filter } from "./container.ts";

const USER = 1000;
const has = (program: string) => spawnSync("which", [program]).status === 0;

const FILTERS: readonly Filter[] = ["docker", "docker 20.10"];

describe.skipIf(!canRunContainers || process.arch !== "x64").each(FILTERS)(
  "in a container of the defaults of %s (needs root, runc and podman's seccomp profile)",
  (filter) => {
    const scratch = scratchFolder();
    let containers: Containers;
    const program = (name: string, ...flags: string[]) => join(scratch.path, `${name}${flags.join("")}`);
    beforeAll(() => {
      // what is made later the container's root does not have
      chmodSync(scratch.path, 0o755);
      if (hasCompiler) {
        compile("ioat-driver", scratch.path);
        compile("iova-ranges", scratch.path, "-static");
        compile("iommufd-edu", scratch.path);
      }
      containers = new Containers();
    });
    afterAll(() => {
      containers.remove();
      scratch.remove();
    });

    const DOCKER: ContainerOptions = { filter };
    const run = (options: ContainerOptions, ...words: string[]) =>
      containers.run(options, process.execPath, join(ROOT, "dist/command/main.js"), "run", ...words);
    const withoutNote = (text: string) =>
      text.replace(/^uvfio: no mounts for the program: [^\n]*\(--no-mounts\)\n/, "");

    test.each<[string, ContainerOptions]>([
      ["root", DOCKER],
      ["an ordinary user", { ...DOCKER, user: USER }],
      ["root with SYS_ADMIN alone", { ...DOCKER, add: ["SYS_ADMIN"] }],
      ["root with SYS_PTRACE alone", { ...DOCKER, add: ["SYS_PTRACE"] }],
      ["an ordinary user, with a root that cannot be written", { ...DOCKER, user: USER, readOnly: true }],
      ["an ordinary user without new privileges", { ...DOCKER, user: USER, dropAll: true, noNewPrivileges: true }],
    ])("%s reads the host's files, and a line says how", (_, options) => {
      const { status, stdout, stderr } = run(options, "--", "cat", "/sys/bus/pci/devices/0000:00:1b.0/vendor");
      expect(stderr).toMatch(/^uvfio: no mounts for the program: [^\n]*\(--no-mounts\)\n$/);
      expect({ status, stdout }).toEqual({ status: 0, stdout: "0x8086\n" });
    });

    test.skipIf(!hasCompiler)("a driver in C takes interrupts and does DMA", () => {
      const driver = program("ioat-driver");
      for (const options of [DOCKER, { ...DOCKER, user: USER }]) {
        const { status, stdout, stderr } = run(options, "-m", "lab", "--", driver, "3", "0000:01:00.0");
        expect(stderr).not.toMatch(/: VFIO_/);
        expect(stdout.split("\n").sort()).toEqual(["", "0000:01:00.0: ok"]);
        expect(status).toBe(0);
      }
    });

    test.skipIf(!hasCompiler)("a static program and one that goes through /dev/iommu", () => {
      const ranges = program("iova-ranges", "-static");
      const { status, stdout } = run(DOCKER, "--", ranges, "0000:00:1b.0");
      expect(stdout).toContain("valid iova 0000000000000000 - 00000000fedfffff\n");
      expect(status).toBe(0);
      const edu = program("iommufd-edu");
      const through = run(DOCKER, "-m", "lab", "--kernel", "7.2", "--", edu, "0000:03:00.0", "files");
      expect(through.stdout).toContain('memfd: map ok, seen "through the device", unmapped 0x6000\n');
      expect(through.status).toBe(0);
    });

    test.skipIf(!has("lspci"))("lspci lists the host's devices", () => {
      const { status, stdout, stderr } = run(DOCKER, "-m", "lab", "--", "lspci", "-n");
      expect(stdout).toContain("01:00.0 0880: 8086:2021");
      expect(withoutNote(stderr)).toBe("");
      expect(status).toBe(0);
    });

    test.skipIf(!has("qemu-system-x86_64"))("QEMU takes a device", () => {
      const machine = ["-machine", "q35", "-accel", "tcg", "-m", "4", "-display", "none", "-nodefaults", "-S"];
      const monitor = ["-device", "vfio-pci,host=0000:01:00.0,id=x", "-qmp", "stdio"];
      const script = `(echo '{"execute":"qmp_capabilities"}{"execute":"query-pci"}{"execute":"quit"}'; sleep 5) | exec "$@"`;
      const command = ["sh", "-c", script, "sh", "qemu-system-x86_64", ...machine, ...monitor];
      const { status, stdout, stderr } = run(DOCKER, "-m", "lab", "--", ...command);
      expect(withoutNote(stderr)).not.toMatch(/vfio .*(?:error|failed)/);
      expect(stdout).toContain('"qdev_id": "x"');
      expect(status).toBe(0);
    });

    test("writes to the host's files are refused, and the reason said", () => {
      const script = "echo vfio-pci > /sys/bus/pci/devices/0000:00:1b.0/driver_override";
      const { status, stderr } = run(DOCKER, "--", "sh", "-c", script);
      expect(withoutNote(stderr)).toContain("EROFS: without mounts the host's files cannot be written");
      expect(status).not.toBe(0);
    });
  },
);
