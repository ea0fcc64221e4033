import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { finished, hasCompiler, uvfio } from "../cli/uvfio.ts";
import { isAlive } from "../interpose/build.ts";
import { letGo, ROOT, type Service, Services, UVFIO } from "./service.ts";

describe.skipIf(!hasCompiler)("programs on one host", () => {
  let services: Services;
  let service: Service;
  beforeAll(async () => {
    services = new Services();
    service = await services.serve("shared");
  });
  afterAll(() => services.remove());

  /** What the server holds for programs. */
  const held = () =>
    readdirSync(`/proc/${service.running.child.pid}/fd`).flatMap((fd) => {
      try {
        const link = readlinkSync(`/proc/${service.running.child.pid}/fd/${fd}`);
        return /uvfio-(container|group|device)|seccomp|fuse|\/mem$|pidfd/.test(link) ? [link] : [];
      } catch {
        return [];
      }
    });

  const untilNothingIsHeld = async () => {
    for (let n = 0; n < 200 && held().length > 0; n++) await new Promise((resolve) => setTimeout(resolve, 20));
    return held();
  };

  test("contend for a group; the one that is refused hears why, and nobody else does", async () => {
    const first = await service.holds("hold", "/dev/vfio/1");
    const second = service.client("open", "/dev/vfio/1", "/dev/vfio/2");
    expect(second.stdout).toBe("open /dev/vfio/1: EBUSY\nopen /dev/vfio/2: ok\n");
    expect(second.stderr).toMatch(
      /^uvfio: shared-host\[\d+\]: openat \/dev\/vfio\/1 = EBUSY: group 1 is open already.*\n$/,
    );
    await letGo(first);
    expect(service.client("open", "/dev/vfio/1").stdout).toBe("open /dev/vfio/1: ok\n");
    expect(first.stderr).toBe("");
    expect(service.running.stderr).toBe("");
  });

  test("hand a container from one run to another", async () => {
    const socket = services.path("give.sock");
    const giver = service.start("give", socket, "/dev/vfio/2");
    await giver.says("listening");
    const taker = service.client("take", socket);
    expect(taker.stdout).toBe("map: ok\nmap again: EEXIST\n");
    expect(taker.stderr).toContain("VFIO_IOMMU_MAP_DMA = EEXIST: iova 0x0-0xfff overlaps the mapping 0x0-0xfff");
    await giver.says("held");
    await letGo(giver);
    expect(giver.stdout).toContain("map where the taker did: EEXIST\n");
  });

  test("see the state of /sys that others have made, and nodes that come and go", () => {
    const on = (script: string) =>
      finished(process.execPath, [UVFIO, "run", "--on", service.socket, "--", "sh", "-c", script]);
    const unbind = on("echo 0000:01:00.0 > /sys/bus/pci/drivers/vfio-pci/unbind; ls /dev/vfio");
    expect(unbind.stdout.split("\n")).not.toContain("1");
    expect(on("ls /dev/vfio").stdout.split("\n")).not.toContain("1");
    expect(on("echo 0000:01:00.0 > /sys/bus/pci/drivers/vfio-pci/bind; ls /dev/vfio").stdout.split("\n")).toContain(
      "1",
    );
  });

  test("end with their own status, or the signal's", async () => {
    const status = (...program: string[]) => uvfio("run", "--on", service.socket, "--", ...program).status;
    expect(status("sh", "-c", "exit 7")).toBe(7);
    const running = await service.holds("hold", "/dev/vfio/1");
    running.child.kill("SIGTERM");
    expect((await running.finished).status).toBe(143);
  });

  test("have traces of their own, that replay", async () => {
    const other = await service.holds("hold", "/dev/vfio/3");
    const trace = services.path("trace.jsonl");
    const run = uvfio("run", "--on", service.socket, "--trace", trace, "--", services.client, "map", "2");
    expect(run.status).toBe(0);
    const shown = uvfio("trace", trace).stdout;
    expect(shown).toContain("VFIO_IOMMU_MAP_DMA");
    expect(shown).not.toContain("/dev/vfio/3");
    expect(uvfio("replay", "-m", "lab", trace)).toMatchObject({ status: 0 });
    await letGo(other);
  });

  test("have faults and findings of their own", async () => {
    const fault = ["--fault", "VFIO_IOMMU_MAP_DMA#2=ENOMEM"];
    const run = uvfio("run", "--on", service.socket, ...fault, "--", services.client, "map", "3");
    expect(run.stdout).toContain("map 1: ok\nmap 2: ENOMEM\nmap 3: ok\n");
    const checked = uvfio("run", "--on", service.socket, "--sanitize=error", "--", services.client, "map", "3");
    expect(checked.stderr).not.toBe("");
    expect(service.client("map", "3").stdout).toContain("map 2: ok\n");
    const wrong = uvfio("run", "--on", service.socket, "--fault", "NONSENSE=ENOMEM", "--", "true");
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toMatch(/^uvfio: [^\n]*NONSENSE[^\n]*\n$/);
  });

  test("whose uvfio is killed are told, and leave nothing", async () => {
    const running = await service.holds("hold", "/dev/vfio/1");
    const [program] = readFileSync(`/proc/${running.child.pid}/task/${running.child.pid}/children`, "utf8").split(" ");
    running.child.kill("SIGKILL");
    await running.finished;
    expect(await untilNothingIsHeld()).toEqual([]);
    expect(isAlive(Number(program))).toBe(false);
    expect(service.client("open", "/dev/vfio/1").stdout).toBe("open /dev/vfio/1: ok\n");
  });

  test("that heed no signal are served on when their uvfio is killed, until they end", async () => {
    const running = await service.holds("keep", "/dev/vfio/1");
    const children = readFileSync(`/proc/${running.child.pid}/task/${running.child.pid}/children`, "utf8").trim();
    running.child.kill("SIGKILL");
    await running.finished;
    for (const pid of children.split(" ").map(Number)) if (isAlive(pid)) process.kill(pid, "SIGKILL");
    expect(await untilNothingIsHeld()).toEqual([]);
    expect(service.client("open", "/dev/vfio/1").stdout).toBe("open /dev/vfio/1: ok\n");
  });

  test("that come and go leave no descriptor", async () => {
    const count = () => readdirSync(`/proc/${service.running.child.pid}/fd`).length;
    await untilNothingIsHeld();
    const before = count();
    for (let n = 0; n < 5; n++) service.client("map", "1");
    await untilNothingIsHeld();
    expect(count()).toBeLessThanOrEqual(before);
  });

  test.skipIf(process.arch !== "x64")(
    "whose threads get signals all the time, as Go's do, have each call made once",
    () => {
      const binary = services.path("go-like");
      const flags = ["-O1", "-w", "-nostdlib", "-static", "-ffreestanding"];
      expect(finished("gcc", [...flags, "-o", binary, join(ROOT, "test/clients/go-like.c")]).status).toBe(0);
      const run = uvfio("run", "--on", service.socket, "--", binary);
      expect(run).toMatchObject({ status: 0, stdout: "right       03200\nwrong       00000\n" });
    },
  );

  test("that do not listen to what is said wait alone", async () => {
    const trace = ["--trace", services.path("much.jsonl")];
    const words = ["run", "--on", service.socket, ...trace, "--", services.client, "time", "40000", "1"];
    const deaf = services.start([process.execPath, UVFIO, ...words]);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    deaf.child.kill("SIGSTOP");
    const others = service.client("time", "2000", "1");
    expect(others.stdout).toMatch(/^median \d+\n$/);
    deaf.child.kill("SIGCONT");
    expect((await deaf.finished).stdout).toMatch(/^median \d+\n$/);
  });
});
