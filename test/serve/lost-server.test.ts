import { existsSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasCompiler } from "../cli/uvfio.ts";
import { type Service, Services, UVFIO } from "./service.ts";

describe.skipIf(!hasCompiler || !existsSync("/dev/fuse"))("a served host that is lost", () => {
  let services: Services;
  let service: Service;
  beforeAll(async () => {
    services = new Services();
    service = await services.serve("real");
  });
  afterAll(() => services.remove());

  test("while the program's tree is mounted ends the run with one line", async () => {
    // it says what is shown, and leaves when it is to serve that
    const between = services.path("between.sock");
    const server = createServer((client: Socket) => {
      const real = connect(service.socket);
      real.on("data", (data) => client.write(data));
      real.on("error", () => {});
      client.once("data", (request) => {
        real.write(request);
        client.on("data", () => {
          client.destroy();
          real.destroy();
        });
      });
      client.on("error", () => {});
    });
    await new Promise<void>((resolve) => server.listen(between, resolve));
    const running = services.start([process.execPath, UVFIO, "run", "--on", between, "--", "echo", "not this"]);
    const { status, stdout, stderr } = await running.finished;
    server.close();
    expect(stderr).toMatch(/^uvfio: [^\n]+\n$/);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  });
});
