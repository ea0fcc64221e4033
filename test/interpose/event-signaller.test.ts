import fs from "node:fs";
import { afterEach, expect, test } from "vitest";
import { EventSignaller } from "../../src/interpose/event-signaller.ts";
import { HOST_CALLS } from "../../src/interpose/host-calls.ts";
import { close, syscall } from "../../src/interpose/libc.ts";
import { O_CLOEXEC } from "../../src/interpose/linux.ts";

const HIGHEST = 2n ** 64n - 1n;
const signaller = new EventSignaller();
const event = syscall(HOST_CALLS.eventfd2, 0, O_CLOEXEC);
afterEach(() => {
  signaller.close();
  close(event);
});

/** Reads the counter, which is 0 then. */
function take(): bigint {
  const counter = new BigUint64Array(1);
  fs.readSync(event, counter);
  return counter[0]!;
}

test("an eventfd is signalled as often as one likes, and one that is full keeps nobody waiting", ({ skip }) => {
  if (!signaller.signal(event)) return skip("the machine has no asynchronous reads (io_setup)");
  expect(take()).toBe(1n);
  // more often than there is room for ends of reads
  for (let i = 0; i < 5000; i++) expect(signaller.signal(event)).toBe(true);
  expect(take()).toBe(5000n);
  fs.writeSync(event, new BigUint64Array([HIGHEST - 1n]));
  for (let i = 0; i < 3; i++) expect(signaller.signal(event)).toBe(true);
  expect(take()).toBe(HIGHEST);
  // what is no eventfd is none of its business
  const other = fs.openSync("/dev/null", "w");
  expect(signaller.signal(other)).toBe(false);
  fs.closeSync(other);
});
