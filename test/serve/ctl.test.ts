import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { finished, hasCompiler, uvfio } from "../cli/uvfio.ts";
import type { Running } from "../interpose/build.ts";
import { letGo, type Service, Services, UVFIO } from "./service.ts";

const DEVICE = "0000:01:00.0";

describe.skipIf(!hasCompiler)("uvfio ctl, while programs run", () => {
  let services: Services;
  let service: Service;
  let group: string;
  beforeAll(async () => {
    services = new Services();
    service = await services.serve("ctl");
    const link = uvfio("run", "--on", service.socket, "--", "readlink", `/sys/bus/pci/devices/${DEVICE}/iommu_group`);
    group = `/dev/vfio/${link.stdout.trim().split("/").at(-1)}`;
  });
  afterAll(() => services.remove());

  const ctl = (...words: string[]) => uvfio("ctl", "--on", service.socket, ...words);
  const done = { status: 0, stdout: "", stderr: "" };

  const using = async () => {
    const running = service.start("device", group, DEVICE);
    await running.says("ready");
    expect(running.stdout).not.toMatch(/: E/);
    return running;
  };
  /** Has a client do something, and returns what it says to that. */
  const orders = async (running: Running, order: string) => {
    const before = running.stdout.length;
    running.child.stdin!.write(order);
    await expect.poll(() => running.stdout.slice(before), { timeout: 10_000 }).toMatch(/\n$/);
    return running.stdout.slice(before);
  };
  const nodes = () => uvfio("run", "--on", service.socket, "--", "ls", "/dev/vfio").stdout.split("\n");

  test("a link that is down reads as all ones; up again, the device is there, reset", async () => {
    const running = await using();
    const before = await orders(running, "r");
    expect(before).toMatch(/^class (?!ffffffff)/);
    expect(ctl("link", DEVICE, "down")).toEqual(done);
    expect(await orders(running, "r")).toBe("class ffffffff, BAR 0 ffffffff\n");
    expect(ctl("link", DEVICE, "up")).toEqual(done);
    expect(await orders(running, "r")).toBe(before);
    await letGo(running);
  });

  test("what is mapped reads as all ones too while nobody answers, and what is written there is lost", async () => {
    const running = await using();
    const before = await orders(running, "b");
    expect(before).toMatch(/^mapped (?!ffffffff)/);
    expect(ctl("link", DEVICE, "down")).toEqual(done);
    expect(await orders(running, "b")).toBe("mapped ffffffff ffffffff\n");
    running.child.stdin!.write("w");
    await expect.poll(() => orders(running, "b"), { timeout: 5000 }).toMatch(/^mapped ffffffff/);
    expect(ctl("link", DEVICE, "up")).toEqual(done);
    expect(await orders(running, "b")).toBe(before);
    await letGo(running);
  });

  test("an error is an ERR interrupt", async () => {
    const running = await using();
    expect(ctl("aer", DEVICE)).toEqual(done);
    await running.says("ERR\n");
    await letGo(running);
    expect(ctl("aer", DEVICE)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(`nobody has ${DEVICE} open`),
    });
  });

  test("a device that is pulled out is asked for, gone when it is closed, and comes back", async () => {
    const running = await using();
    const pull = services.start([process.execPath, UVFIO, "ctl", "--on", service.socket, "pull", DEVICE]);
    await running.says("REQ\n");
    expect(await orders(running, "r")).toBe("class ffffffff, BAR 0 ffffffff\n");
    expect(pull.child.exitCode).toBe(null);
    await letGo(running);
    expect(await pull.finished).toMatchObject({ status: 0 });
    expect(nodes()).not.toContain(group.slice("/dev/vfio/".length));
    expect(ctl("add", DEVICE, "vfio-pci")).toEqual(done);
    expect(nodes()).toContain(group.slice("/dev/vfio/".length));
    const again = await using();
    expect(await orders(again, "r")).not.toContain("ffffffff");
    await letGo(again);
  });

  test("who waits for a removal may give up: the device stays", async () => {
    const running = await using();
    const remove = services.start([process.execPath, UVFIO, "ctl", "--on", service.socket, "remove", DEVICE]);
    await running.says("REQ\n");
    remove.child.kill("SIGINT");
    await remove.finished;
    await letGo(running);
    expect(nodes()).toContain(group.slice("/dev/vfio/".length));
  });

  test("memory runs short, and resets fail, for programs that run already", async () => {
    const running = await using();
    expect(await orders(running, "m")).toBe("map: ok\n");
    expect(ctl("fail", "VFIO_IOMMU_MAP_DMA=ENOMEM")).toEqual(done);
    expect(ctl("fail", "VFIO_DEVICE_RESET=EIO")).toEqual(done);
    expect(await orders(running, "m")).toBe("map: ENOMEM\n");
    expect(await orders(running, "x")).toBe("reset: EIO\n");
    expect(ctl("fail", "none")).toEqual(done);
    expect(await orders(running, "m")).toBe("map: ok\n");
    await letGo(running);
    expect(running.stderr).toContain("injected by uvfio ctl fail VFIO_IOMMU_MAP_DMA=ENOMEM");
  });

  test("a script sets things off when programs have come so far", async () => {
    const script = services.path("script");
    writeFileSync(
      script,
      `# a bad day\nafter VFIO_IOMMU_MAP_DMA#2 link ${DEVICE} down\nafter VFIO_DEVICE_RESET#1 aer ${DEVICE} # at once\n`,
    );
    expect(ctl("--script", script)).toEqual(done);
    const running = await using();
    await orders(running, "m");
    expect(await orders(running, "r")).not.toContain("ffffffff");
    await orders(running, "m");
    expect(await orders(running, "r")).toBe("class ffffffff, BAR 0 ffffffff\n");
    await orders(running, "x");
    await running.says("ERR\n");
    await letGo(running);
    expect(ctl("link", DEVICE, "up")).toEqual(done);
  });

  test.each([
    [["dance"], "dance: add, remove"],
    [[], "ctl takes a command"],
    [["link", DEVICE], "up or down"],
    [["add", DEVICE], "is there already"],
    [["remove", "0000:99:00.0"], "is no PCI device of this host"],
    [["fail", "NONSENSE=EIO"], "NONSENSE"],
    [["after", "NONSENSE#1", "aer", DEVICE], "give a request"],
    [["after", "VFIO_IOMMU_MAP_DMA#1"], "and then?"],
    [["--script", "/no/such/file"], "cannot be read"],
  ])("%j: one line", (words, text) => {
    const { status, stderr } = ctl(...words);
    expect(stderr).toMatch(/^uvfio: [^\n]+\n$/);
    expect(stderr).toContain(text);
    expect(status).toBe(2);
    expect(finished(process.execPath, [UVFIO, "run", "--on", service.socket, "--", "true"]).status).toBe(0);
  });
});
