import { get, type IncomingMessage } from "node:http";
import { expect, test } from "vitest";
import { PictureState } from "../../../src/inspect/picture/state.ts";
import { ViewHub } from "../../../src/library/view/hub.ts";
import { PageServer } from "../../../src/library/view/page-server.ts";

test("a page has been told all, and that it is all, when its server ends", async () => {
  const hello = { mode: "live", host: "h", kernel: "6.12", title: "t" } as const;
  const hub = new ViewHub({ hello, state: new PictureState() });
  const server = new PageServer(hub);
  await server.listen(0);
  const response = await new Promise<IncomingMessage>((resolve) => get(`${server.url}events`, resolve));
  let text = "";
  const closed = new Promise<void>((resolve) => {
    response.on("data", (data) => {
      text += data;
    });
    response.on("error", () => {});
    response.on("close", resolve);
  });
  hub.end("it is over");
  await server.close();
  await closed;
  expect(text).toContain("it is over");
  // one that is not is cut off by browsers before what they have not read yet
  expect(response.complete).toBe(true);
});
