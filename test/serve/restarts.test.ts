import { expect, test } from "vitest";
import { Restarts } from "../../src/interpose/restarts.ts";

const call = (text: string) => Buffer.from(text);
const answer = { value: 7, error: 0 };

test("the call that a thread makes again has the answer that did not reach it, once", () => {
  const restarts = new Restarts();
  restarts.keep(5, call("map"), answer);
  expect(restarts.take(6, call("map"))).toBeUndefined();
  expect(restarts.take(5, call("map"))).toMatchObject(answer);
  expect(restarts.take(5, call("map"))).toBeUndefined();
});

test("another call of the thread, or a late one, is made", () => {
  let now = 0;
  const restarts = new Restarts(() => now);
  restarts.keep(5, call("map"), answer);
  expect(restarts.take(5, call("unmap"))).toBeUndefined();
  expect(restarts.take(5, call("map"))).toBeUndefined();
  restarts.keep(5, call("map"), answer);
  now = 1000;
  expect(restarts.take(5, call("map"))).toBeUndefined();
});

test("what is kept is a copy, and of many no more than some", () => {
  const restarts = new Restarts();
  const bytes = call("map");
  restarts.keep(1, bytes, answer);
  bytes.fill(0);
  expect(restarts.take(1, call("map"))).toMatchObject(answer);
  for (let tid = 0; tid < 1000; tid++) restarts.keep(tid, call("map"), answer);
  expect(restarts.take(999, call("map"))).toBeUndefined();
  expect(restarts.take(0, call("map"))).toMatchObject(answer);
});
