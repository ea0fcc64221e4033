import { expect, test } from "vitest";
import { CallLimit } from "../../src/interpose/call-limit.ts";
import { HOST_CALLS } from "../../src/interpose/host-calls.ts";
import { close, syscall } from "../../src/interpose/libc.ts";
import { Arena } from "../../src/native/arena.ts";

const EINTR = -4;

test("a call that waits ends when its time is over, and one that does not has its result", () => {
  const limit = new CallLimit(500);
  const arena = new Arena(16);
  syscall(HOST_CALLS.pipe2, arena.address, 0);
  const [reading, writing] = [arena.s32(0), arena.s32(4)];
  const start = performance.now();
  expect(limit.syscall3(HOST_CALLS.read, reading, arena.address, 4)).toBe(EINTR);
  expect(performance.now() - start).toBeGreaterThan(0.4);
  expect(limit.syscall3(HOST_CALLS.write, writing, arena.address, 4)).toBe(4);
  expect(limit.syscall3(HOST_CALLS.read, reading, arena.address, 4)).toBe(4);
  limit.close();
  close(reading);
  close(writing);
});
