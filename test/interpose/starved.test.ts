import { afterAll, expect, test } from "vitest";
import { Build } from "./build.ts";

/** The client's status when this machine, or this user, has not what it needs. */
const NOT_HERE = 77;
/** Half a millisecond is waited for each descriptor; what is more is the machine's. Waiting for the starved one takes a second. */
const HELD_MS = 150;

const build = new Build();
afterAll(() => build.remove());

test("a program that gets no processor for its descriptors holds up nobody else", async () => {
  const client = build.client("starved.c", "starved")!;
  const { stdout, stderr, status } = await build.run({}, client);
  if (status === NOT_HERE) {
    console.warn("left out: no other thread can be made to wait for a processor here");
    return;
  }
  expect(stderr).toBe("");
  expect(status).toBe(0);
  const [, opened, held] = /^opened (\d+), held (\d+) ms$/m.exec(stdout) ?? [];
  expect(Number(opened)).toBeGreaterThan(0);
  expect(Number(held)).toBeLessThan(HELD_MS);
});
