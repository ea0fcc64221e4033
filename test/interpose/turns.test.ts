import { describe, expect, test } from "vitest";
import { Turns } from "../../src/interpose/turns.ts";

/** Work that is never done, and time that passes as it is told to. */
function setup(count = 1) {
  let now = 100;
  const given: number[] = [];
  const works = Array.from({ length: count }, (_, i) => ({
    isPending: true,
    run(milliseconds: number) {
      now += milliseconds;
      given[i] = (given[i] ?? 0) + milliseconds;
    },
  }));
  return { works, given, turns: new Turns(works, () => now), pass: (ms: number) => (now += ms), now: () => now };
}

describe("turns in the only thread", () => {
  test("nothing is waited for less long when there is no work", () => {
    const { works, turns, given } = setup();
    works[0]!.isPending = false;
    turns.take(true);
    turns.take(false);
    expect([turns.patience(), given]).toEqual([-1, []]);
  });

  test("work goes on as long as no call comes, a millisecond at a time", () => {
    const { turns, given } = setup();
    for (let i = 0; i < 10; i++) {
      expect(turns.patience()).toBe(0);
      turns.take(false);
    }
    expect(given[0]).toBe(10);
  });

  test("calls that follow each other get as much time as the work, whatever they take", () => {
    const { turns, given, pass, now } = setup();
    const start = now();
    let calls = 0;
    while (now() - start < 1000) {
      pass(0.02);
      calls += 0.02;
      turns.take(true);
    }
    expect(calls / given[0]!).toBeGreaterThan(0.9);
    expect(calls / given[0]!).toBeLessThan(1.1);
  });

  test("a program that has just made a call is waited for, but not for long", () => {
    const { turns, pass } = setup();
    turns.take(false);
    turns.take(true);
    expect(turns.patience()).toBeGreaterThan(0);
    pass(2);
    expect(turns.patience()).toBe(0);
  });

  test("works share a slice", () => {
    const { turns, given, works } = setup(2);
    turns.take(false);
    expect(given).toEqual([0.5, 0.5]);
    works[0]!.isPending = false;
    turns.take(false);
    expect(given).toEqual([0.5, 1.5]);
  });
});
