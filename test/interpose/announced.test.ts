import fs from "node:fs";
import { afterEach, expect, test } from "vitest";
import { CallLimit } from "../../src/interpose/call-limit.ts";
import { EventWatches } from "../../src/interpose/event-watches.ts";
import { HOST_CALLS } from "../../src/interpose/host-calls.ts";
import { close, syscall } from "../../src/interpose/libc.ts";
import { O_CLOEXEC, O_NONBLOCK, O_RDONLY } from "../../src/interpose/linux.ts";
import { StreamFiles } from "../../src/interpose/stream-files.ts";
import { FileDescription, type Readiness } from "../../src/kernel/file-description.ts";
import { Arena } from "../../src/native/arena.ts";

/** More than one wait of epoll tells. */
const MANY = 100;
const unwatched: Readiness = { isReadable: false, watch: () => () => {} };
const poll = new Arena(32);
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

class Stream extends FileDescription {
  readonly kind = "foreign";
  readonly label = "a stream";
}

function isReadable(fd: number): boolean {
  poll.setU32(0, fd);
  poll.setU32(4, 1);
  return syscall(HOST_CALLS.ppoll, poll.address, 1, poll.address + 16, 0, 0) === 1;
}

function eventfds(count: number): number[] {
  const made = Array.from({ length: count }, () => syscall(HOST_CALLS.eventfd2, 0, O_CLOEXEC | O_NONBLOCK));
  cleanups.push(() => made.forEach(close));
  return made;
}

function raise(fd: number): void {
  fs.writeSync(fd, new BigUint64Array([1n]));
}

function makeWatches(): EventWatches {
  const limit = new CallLimit(500);
  const watches = new EventWatches(limit, () => []);
  cleanups.push(() => {
    watches.close();
    limit.close();
  });
  return watches;
}

test("of many streams those are released that were closed, all of them at once", () => {
  const released: FileDescription[] = [];
  const files = new StreamFiles((description) => released.push(description));
  cleanups.push(() => {
    files.releaseAll();
    files.close();
  });
  const streams = Array.from({ length: 2 * MANY }, () => {
    const description = new Stream();
    const made = files.create(description, unwatched, O_RDONLY);
    if (typeof made === "number") throw new Error(`no stream: ${made}`);
    return { description, fd: made.fd };
  });
  files.drain();
  expect(released).toEqual([]);
  expect(isReadable(files.event)).toBe(false);
  for (const { fd } of streams.slice(0, MANY)) close(fd);
  expect(isReadable(files.event)).toBe(true);
  files.drain();
  expect(new Set(released)).toEqual(new Set(streams.slice(0, MANY).map(({ description }) => description)));
  expect(files.size).toBe(MANY);
  expect(isReadable(files.event)).toBe(false);
  for (const { fd } of streams.slice(MANY)) close(fd);
  files.drain();
  expect(files.size).toBe(0);
});

test("of many eventfds those are heard that were written to, once each", () => {
  const watches = makeWatches();
  const heard: number[] = [];
  const events = eventfds(2 * MANY);
  for (const fd of events) watches.add(fd, () => heard.push(fd));
  watches.check();
  expect(heard).toEqual([]);
  for (const fd of events.slice(MANY)) raise(fd);
  expect(isReadable(watches.event)).toBe(true);
  watches.check();
  expect(heard.sort()).toEqual(events.slice(MANY).sort());
  watches.check();
  expect(heard).toHaveLength(MANY);
});

test("who raises the eventfd that it hears does not keep everybody waiting", () => {
  const watches = makeWatches();
  const [fd] = eventfds(1);
  let count = 0;
  watches.add(fd!, () => {
    count++;
    raise(fd!);
  });
  raise(fd!);
  watches.check();
  watches.check();
  expect(count).toBe(2);
});
