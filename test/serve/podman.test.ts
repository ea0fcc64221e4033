import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compile, finished, hasCompiler, uvfio } from "../cli/uvfio.ts";
import { type Service, Services } from "./service.ts";

const hasPodman = process.getuid?.() === 0 && spawnSync("podman", ["--version"]).status === 0;
/** Podman's default profile. Debian: golang-github-containers-common. */
const PODMAN = "/usr/share/containers/seccomp.json";
const FOLDER = "/etc/cdi";
/** A name of its own: the machine may have a specification of uvfio's already. */
const KIND = `uvfio.local/test-${process.pid}`;

describe.skipIf(!hasPodman || !hasCompiler)(
  "podman's containers on a served host (needs root, podman and runc)",
  () => {
    const spec = join(FOLDER, `uvfio-test-${process.pid}.json`);
    let services: Services;
    let service: Service;
    beforeAll(async () => {
      services = new Services();
      service = await services.serve("podman", ["-m", "lab", "--sysfs", services.path("host")]);
      for (const folder of ["dev", "proc", "sys"]) mkdirSync(services.path(`rootfs/${folder}`), { recursive: true });
      copyFileSync(compile("shared-host", services.path(""), "-static"), services.path("rootfs/program"));
      chmodSync(services.path("rootfs/program"), 0o755);
      mkdirSync(FOLDER, { recursive: true });
      const cdi = JSON.parse(uvfio("cdi", "--on", service.socket).stdout);
      writeFileSync(spec, JSON.stringify({ ...cdi, kind: KIND }));
    });
    afterAll(async () => {
      rmSync(spec, { force: true });
      services.atEnd(() => service && uvfio("stop", "--socket", service.socket));
      await services.remove();
    });

    const podman = (profile: string, device: string, ...program: string[]) =>
      finished("podman", [
        ...["--root", services.path("store"), "--runroot", services.path("state"), "--storage-driver", "vfs"],
        ...["--cgroup-manager", "cgroupfs", "--runtime", "runc", "run", "--rm", "--net", "none"],
        // the limits of this process: more may be refused
        ...["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"],
        ...["--security-opt", `seccomp=${profile}`, "--device", `${KIND}=${device}`],
        ...["--rootfs", services.path("rootfs"), "/program", ...program],
      ]);
    const profile = (...base: string[]) => {
      const file = services.path(`profile-${base.length}.json`);
      writeFileSync(file, uvfio("oci-profile", ...base, "--socket", service.socket).stdout);
      return file;
    };

    test("get the devices that --device names, and /sys", () => {
      const mapped = podman(profile(), "1", "map", "2");
      expect(mapped).toMatchObject({ status: 0, stdout: "set container: ok\nset iommu: ok\nmap 1: ok\nmap 2: ok\n" });
      expect(podman(profile(), "0000:02:00.0", "open", "/dev/vfio/1", "/dev/vfio/2").stdout).toBe(
        "open /dev/vfio/1: ENOENT\nopen /dev/vfio/2: ok\n",
      );
      const vendor = "/sys/bus/pci/devices/0000:01:00.0/vendor";
      expect(podman(profile(), "all", "print", vendor).stdout).toBe("0x8086\n");
    });

    test.skipIf(!existsSync(PODMAN))("with podman's own profile, merged", () => {
      expect(podman(profile(PODMAN), "1", "map", "1").stdout).toBe("set container: ok\nset iommu: ok\nmap 1: ok\n");
    });
  },
);
