import { existsSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { finished, hasCompiler, uvfio } from "../cli/uvfio.ts";
import { AS_NOBODY, hasNobody, letGo, NOBODY, type Service, Services, UVFIO } from "./service.ts";

let services: Services;
beforeAll(() => {
  services = new Services();
});
afterAll(() => services.remove());

const serve = (socket: string) => uvfio("serve", "-m", "lab", "--socket", socket);

describe.skipIf(!hasCompiler)("the end of a served host", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("by %s: says who is still on it, and tells them", async (signal) => {
    const service = await services.serve(`end-${signal}`);
    const running = await service.holds("hold", "/dev/vfio/1");
    service.running.child.kill(signal);
    expect(await service.running.finished).toMatchObject({ status: 0 });
    expect(service.running.stderr).toMatch(
      /^uvfio: still on this host: \S+shared-host hold \/dev\/vfio\/1\[\d+\] of user \d+\n$/,
    );
    expect(await running.finished).toMatchObject({
      status: 2,
      stderr: `uvfio: ${service.socket}: uvfio serve has ended, and with it the host\n`,
    });
    expect(existsSync(service.socket)).toBe(false);
  });

  test("by uvfio stop: it is over when that returns", async () => {
    const service = await services.serve("stopped");
    const running = await service.holds("hold", "/dev/vfio/1");
    const stop = uvfio("stop", "--socket", service.socket);
    expect(stop).toMatchObject({ status: 0, stdout: "" });
    expect(stop.stderr).toContain("was still on this host: ");
    expect(existsSync(service.socket)).toBe(false);
    expect((await service.running.finished).status).toBe(0);
    expect((await running.finished).status).toBe(2);
  });

  test("by SIGKILL: programs are told, and another takes the socket over", async () => {
    const service = await services.serve("killed");
    const running = await service.holds("hold", "/dev/vfio/1");
    service.running.child.kill("SIGKILL");
    expect((await running.finished).status).toBe(2);
    expect(uvfio("run", "--on", service.socket, "--", "true")).toMatchObject({
      status: 2,
      stderr: `uvfio: ${service.socket}: nobody serves there any more; uvfio serve --socket PATH replaces it\n`,
    });
    const next = await services.serve("killed");
    expect(next.client("open", "/dev/vfio/1").stdout).toBe("open /dev/vfio/1: ok\n");
  });
});

describe("a socket that cannot be had", () => {
  test("because it is served: one line", async () => {
    const { socket } = await services.serve("twice");
    const stderr = `uvfio: ${socket}: somebody serves there already; uvfio stop --socket ${socket} ends it, or name another with --socket\n`;
    expect(serve(socket)).toEqual({ status: 2, stdout: "", stderr });
  });

  test("because of what is there, or of its path: one line", () => {
    const file = services.path("file");
    writeFileSync(file, "mine");
    for (const path of [file, services.path("no/such/folder.sock"), services.path("long".repeat(40))]) {
      const { status, stderr } = serve(path);
      expect(stderr).toMatch(/^uvfio: [^\n]+\n$/);
      expect(status).toBe(2);
    }
    expect(statSync(file).size).toBe(4);
  });

  test.each([
    ["nobody's", () => services.path("nobody.sock"), "no uvfio serve is there"],
    ["somebody else's", () => services.path("other.sock"), "that is no socket of uvfio serve"],
  ])("%s: a run says so", async (_, path, text) => {
    const other = createServer((socket) => socket.resume().end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    other.listen(services.path("other.sock"));
    const running = services.start([process.execPath, UVFIO, "run", "--on", path(), "--", "true"]);
    const { status, stderr } = await running.finished;
    expect(stderr).toContain(text);
    expect(status).toBe(2);
    await new Promise((resolve) => other.close(resolve));
  });

  test("options of the host go to uvfio serve", () => {
    const run = uvfio("run", "--on", services.path("x.sock"), "-m", "amd", "--", "true");
    expect(run).toMatchObject({ status: 2 });
    expect(run.stderr).toContain("leave out -m");
  });
});

describe.skipIf(!hasCompiler)("a client that means harm", () => {
  let service: Service;
  beforeAll(async () => {
    service = await services.serve("harm");
  });

  /** Sends bytes, and resolves with what comes until the end. */
  const says = (bytes: string | Buffer) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect(service.socket);
      let answer = "";
      socket.on("data", (data) => {
        answer += data;
      });
      socket.on("error", reject);
      socket.on("close", () => resolve(answer));
      socket.end(bytes);
    });
  const run = (...rest: object[]) =>
    [{ uvfio: 1, do: "run" }, ...rest].map((line) => `${JSON.stringify(line)}\n`).join("");

  test.each([
    ["no JSON", "GET / HTTP/1.1\n", "no message of uvfio's"],
    ["JSON of another kind", "[1]\n", "no message of uvfio's"],
    ["null", "null\n", "no message of uvfio's"],
    ["another version", '{"uvfio":999,"do":"run"}\n', "another version"],
    ["an unknown wish", '{"uvfio":1,"do":"dance"}\n', "not known here"],
    ["a line without end", Buffer.alloc(3 << 20, "x"), "longer than"],
    ["a listener that is not there", run({ serve: { pid: 1, name: "x" } }), "a descriptor is missing"],
    ["a file system that is not there", run({ fuse: { uid: 0, gid: 0 } }), "a descriptor is missing"],
    ["what makes no sense", run({ serve: "me" }), "a descriptor is missing"],
    ["faults that are no list", '{"uvfio":1,"do":"run","faults":7}\n', "refused"],
    ["words that are no words", '{"uvfio":1,"do":"control","words":[1]}\n', "refused"],
  ])("that says %s is refused", async (_, bytes, text) => {
    expect(await says(bytes).catch(() => text)).toContain(text);
    expect(service.client("open", "/dev/vfio/1")).toEqual({ status: 0, stdout: "open /dev/vfio/1: ok\n", stderr: "" });
  });

  test("that hands over what is no container is refused", async () => {
    await says(JSON.stringify({ ociVersion: "1.0.2", fds: ["seccompFd"], pid: 1, state: { id: "evil" } }));
    await says('{"ociVersion":');
    expect(service.client("open", "/dev/vfio/1").stdout).toBe("open /dev/vfio/1: ok\n");
    expect(service.running.stderr).toBe("");
  });

  test("that says nothing holds nobody up", async () => {
    const silent = Array.from({ length: 100 }, () => connect(service.socket));
    expect(service.client("open", "/dev/vfio/1").stdout).toBe("open /dev/vfio/1: ok\n");
    for (const socket of silent) socket.destroy();
  });
});

describe.skipIf(!hasCompiler || !hasNobody)("other users (needs root)", () => {
  const as = (service: Service, ...words: string[]) =>
    finished(AS_NOBODY[0], [...AS_NOBODY.slice(1), ...service.command(...words)]);

  test("cannot connect by default", async () => {
    const service = await services.serve("own");
    const run = as(service, "open", "/dev/vfio/1");
    expect(run.status).toBe(2);
    expect(run.stderr).toContain("no permission to connect (EACCES)");
  });

  test("are on root's host when its socket lets them in: with /sys, nodes that come and go, and no rights of root's", async () => {
    const service = await services.serve("open", ["-m", "lab", "--socket-mode", "0666"]);
    const root = await service.holds("hold", "/dev/vfio/1");
    const run = as(service, "open", "/dev/vfio/1", "/dev/vfio/2");
    expect(run).toMatchObject({ status: 0, stdout: "open /dev/vfio/1: EBUSY\nopen /dev/vfio/2: ok\n" });
    await letGo(root);
    const watching = services.start([
      ...AS_NOBODY,
      ...service.command("open", "/dev/vfio/vfio").slice(0, -3),
      ...[
        "sh",
        "-c",
        "echo ready; for i in $(seq 200); do [ -e /dev/vfio/1 ] || { echo gone; break; }; sleep 0.05; done",
      ],
    ]);
    await watching.says("ready");
    const unbind = "echo 0000:01:00.0 > /sys/bus/pci/drivers/vfio-pci/unbind";
    expect(uvfio("run", "--on", service.socket, "--", "sh", "-c", unbind).status).toBe(0);
    expect((await watching.finished).stdout).toBe("ready\ngone\n");
    const stop = finished(AS_NOBODY[0], [
      ...AS_NOBODY.slice(1),
      process.execPath,
      UVFIO,
      "stop",
      "--socket",
      service.socket,
    ]);
    expect(stop.stderr).toContain(`user ${NOBODY} may not`);
    expect(stop.status).toBe(2);
  });

  test("have hosts that root's programs cannot be on: their processes cannot be read", async () => {
    const folder = services.path("");
    finished("chmod", ["0777", folder]);
    const service = await services.serve("nobodys", ["-m", "lab"], AS_NOBODY);
    const run = service.client("open", "/dev/vfio/1");
    expect(run.status).toBe(2);
    expect(run.stderr).toContain(`processes of user 0 cannot be read by uvfio serve, which is user ${NOBODY}'s`);
    expect(as(service, "open", "/dev/vfio/1").stdout).toBe("open /dev/vfio/1: ok\n");
    finished("chmod", ["0755", folder]);
  });
});
