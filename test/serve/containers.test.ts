import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, ROOT, uvfio } from "../cli/uvfio.ts";
import { type Cdi, hasCrun, hasRunc, startContainer } from "./bundle.ts";
import { letGo, type Service, Services } from "./service.ts";

/** Podman's default profile. Debian: golang-github-containers-common. */
const PODMAN = "/usr/share/containers/seccomp.json";

interface Entry {
  readonly names: readonly string[];
  readonly includes?: { readonly caps?: readonly string[]; readonly arches?: readonly string[] };
  readonly excludes?: { readonly caps?: readonly string[]; readonly arches?: readonly string[] };
}

describe.skipIf(!hasRunc || !hasCompiler)("containers on a served host (needs root and runc)", () => {
  let services: Services;
  let service: Service;
  let program: string;
  let cdi: Cdi;
  let profile: object;
  beforeAll(async () => {
    services = new Services();
    service = await services.serve("containers", ["-m", "lab", "--sysfs", services.path("host")]);
    program = compile("shared-host", services.path(""), "-static");
    cdi = JSON.parse(uvfio("cdi", "--on", service.socket).stdout);
    profile = JSON.parse(uvfio("oci-profile", "--socket", service.socket).stdout);
  });
  afterAll(async () => {
    services.atEnd(() => service && uvfio("stop", "--socket", service.socket));
    await services.remove();
  });

  test.skipIf(!hasCrun)("of crun, with and without --wait-killable (needs crun)", async () => {
    for (const flags of [[], ["--wait-killable"]]) {
      const own = JSON.parse(uvfio("oci-profile", ...flags, "--socket", service.socket).stdout);
      const container = startContainer(services, {
        program,
        args: ["map", "2"],
        profile: own,
        cdi,
        devices: ["1"],
        runtime: "crun",
      });
      const result = await container.running.finished;
      expect(result.stderr).toBe("");
      expect(result).toMatchObject({ stdout: "set container: ok\nset iommu: ok\nmap 1: ok\nmap 2: ok\n" });
    }
  });

  const start = (devices: string[], ...args: string[]) =>
    startContainer(services, { program, args, profile, cdi, devices });

  test("open the devices that they were given, and contend with other containers and programs", async () => {
    const first = start(["1"], "hold", "/dev/vfio/1", "/dev/vfio/2");
    await first.running.says("held");
    expect(first.running.stdout).toBe("open /dev/vfio/1: ok\nopen /dev/vfio/2: ENOENT\nheld\n");
    const second = await start(["1", "2"], "open", "/dev/vfio/1", "/dev/vfio/2").running.finished;
    expect(second).toMatchObject({ status: 0, stdout: "open /dev/vfio/1: EBUSY\nopen /dev/vfio/2: ok\n" });
    expect(service.client("open", "/dev/vfio/1").stdout).toBe("open /dev/vfio/1: EBUSY\n");
    await letGo(first.running);
    expect(service.client("open", "/dev/vfio/1").stdout).toBe("open /dev/vfio/1: ok\n");
    expect(service.running.stderr).toMatch(
      /^uvfio: container uvfio-serve-\d+-\d+: \S+: openat \/dev\/vfio\/1 = EBUSY: group 1 is open already/m,
    );
  });

  test("map memory, with reasons at the server", async () => {
    const { stdout } = await start(["1"], "map", "3").running.finished;
    expect(stdout).toBe("set container: ok\nset iommu: ok\nmap 1: ok\nmap 2: ok\nmap 3: ok\n");
  });

  /** A static program without a C library, as Go makes them. */
  const bare = (source: string) => {
    const binary = services.path(source);
    const flags = ["-O1", "-w", "-nostdlib", "-static", "-ffreestanding"];
    const built = spawnSync("gcc", [...flags, "-o", binary, join(ROOT, `test/clients/${source}.c`)]);
    expect(built.status).toBe(0);
    return binary;
  };

  test.skipIf(process.arch !== "x64")("without a C library, with threads of their own making, are served", async () => {
    const { running } = startContainer(services, {
      program: bare("bare-threads"),
      args: [],
      profile,
      cdi,
      devices: ["1"],
    });
    expect(await running.finished).toMatchObject({ status: 0, stdout: "right 400\n" });
  });

  test("see the host's /sys, which acts, beside the rest of the machine's", async () => {
    const sys = async (...args: string[]) => (await start(["1"], ...args).running.finished).stdout;
    const device = "/sys/bus/pci/devices/0000:01:00.0";
    expect(await sys("print", `${device}/vendor`, "/sys/devices/system/cpu/possible")).toBe(
      `0x8086\n${readFileSync("/sys/devices/system/cpu/possible", "utf8")}`,
    );
    expect(await sys("write", `${device}/driver_override`, "hello")).toBe(`write ${device}/driver_override: ok\n`);
    expect(await sys("write", `${device}/vendor`, "hello")).toBe(`write ${device}/vendor: EACCES\n`);
    const on = (script: string) => uvfio("run", "--on", service.socket, "--", "sh", "-c", script);
    expect(on(`cat ${device}/driver_override`).stdout).toBe("hello\n");
    expect(on(`echo vfio-pci > ${device}/driver_override`).status).toBe(0);
  });

  test("of podman's own profile, merged", async ({ skip }) => {
    if (!existsSync(PODMAN)) return skip("no profile of podman's here");
    const merged = JSON.parse(uvfio("oci-profile", PODMAN, "--socket", service.socket).stdout);
    // what an engine does with it: entries are for some machines, and for containers with some capabilities
    const isHere = ({ includes = {}, excludes = {} }: Entry) =>
      !includes.caps?.length &&
      (!includes.arches?.length || includes.arches.includes("amd64")) &&
      !excludes.arches?.includes("amd64");
    const { archMap: _, ...rest } = merged;
    const syscalls = merged.syscalls
      .filter(isHere)
      .map(({ includes: _, excludes: __, comment: ___, ...entry }: Entry & { comment?: string }) => entry);
    const strict = { ...rest, architectures: ["SCMP_ARCH_X86_64"], syscalls };
    const container = startContainer(services, { program, args: ["map", "2"], profile: strict, cdi, devices: ["1"] });
    const result = await container.running.finished;
    expect(result).toMatchObject({ status: 0, stdout: "set container: ok\nset iommu: ok\nmap 1: ok\nmap 2: ok\n" });
  });

  test("leave nothing", async () => {
    const links = () => readdirSync(`/proc/${service.running.child.pid}/fd`).length;
    await start(["1"], "map", "1").running.finished;
    await new Promise((resolve) => setTimeout(resolve, 700));
    const before = links();
    for (let n = 0; n < 3; n++) await start(["1"], "map", "1").running.finished;
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(links()).toBeLessThanOrEqual(before);
  });

  test("have their /sys taken away at the end; what a killed server leaves is replaced", async () => {
    const folder = services.path("killed");
    const killed = await services.serve("killed", ["-m", "lab", "--sysfs", folder]);
    const mounts = () =>
      readFileSync("/proc/self/mounts", "utf8")
        .split("\n")
        .filter((line) => line.includes(folder)).length;
    expect(mounts()).toBeGreaterThan(0);
    const second = uvfio("serve", "-m", "lab", "--socket", services.path("second.sock"), "--sysfs", folder);
    expect(second).toMatchObject({ status: 2 });
    expect(second.stderr).toContain("another uvfio serve has it");
    killed.running.child.kill("SIGKILL");
    await killed.running.finished;
    const next = await services.serve("killed", ["-m", "lab", "--sysfs", folder]);
    expect(readFileSync(join(folder, "sys/bus/pci/devices/0000:01:00.0/vendor"), "utf8")).toBe("0x8086\n");
    expect(uvfio("stop", "--socket", next.socket).status).toBe(0);
    expect(mounts()).toBe(0);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe("uvfio oci-profile", () => {
  test("takes no profile that is none, or has a listener", () => {
    const scratch = new Services();
    const given = (text: string) => {
      writeFileSync(scratch.path("profile.json"), text);
      return uvfio("oci-profile", scratch.path("profile.json"));
    };
    for (const text of [
      "{",
      "{}",
      "null",
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[1]}',
      '{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}',
    ]) {
      const { status, stderr } = given(text);
      expect(stderr).toMatch(/^uvfio: [^\n]+profile\.json: [^\n]+\n$/);
      expect(status).toBe(2);
    }
    void scratch.remove();
  });

  test("keeps refused what a profile refuses", () => {
    const scratch = new Services();
    const base = { defaultAction: "SCMP_ACT_ERRNO", syscalls: [{ names: ["ioctl", "brk"], action: "SCMP_ACT_ALLOW" }] };
    writeFileSync(scratch.path("profile.json"), JSON.stringify(base));
    const { syscalls } = JSON.parse(uvfio("oci-profile", scratch.path("profile.json")).stdout);
    expect(new Set(syscalls.flatMap(({ names }: Entry) => names))).toEqual(new Set(["ioctl", "brk"]));
    void scratch.remove();
  });
});
