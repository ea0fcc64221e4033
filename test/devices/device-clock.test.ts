import { describe, expect, test } from "vitest";
import { DeviceClock, type DeviceJob } from "../../src/devices/device-clock.ts";

const PIECE = 64 * 1024;

/** A job of so many pieces, each of which takes a tenth of a millisecond. */
function setup() {
  let now = 0;
  const clock = new DeviceClock(() => now);
  const log: string[] = [];
  const job = (name: string, pieces: number, during = (_left: number) => {}): DeviceJob => ({
    step() {
      log.push(name);
      now += 0.1;
      pieces--;
      during(pieces);
      return pieces > 0 ? PIECE : undefined;
    },
  });
  return { clock, log, job };
}

describe("the clock of a host's devices", () => {
  test("has a job done at once when nobody gives slices", () => {
    const { clock, log, job } = setup();
    clock.start(job("a", 1000));
    expect([log.length, clock.isPending]).toEqual([1000, false]);
  });

  test("does a small job at once, and of a large one a small part", () => {
    const { clock, log, job } = setup();
    clock.inSlices = true;
    clock.start(job("small", 2));
    expect([log.length, clock.isPending]).toEqual([2, false]);
    clock.start(job("large", 1000));
    expect(clock.isPending).toBe(true);
    expect(log.length * PIECE).toBeLessThan(512 * 1024);
  });

  test("gives jobs turns piece by piece, for as long as it is told to", () => {
    const { clock, log, job } = setup();
    clock.inSlices = true;
    for (const name of ["a", "b", "c"]) clock.start(job(name, 100));
    log.length = 0;
    clock.run(1);
    expect(log.join("")).toMatch(/^(abc){3}ab?$/);
    log.length = 0;
    while (clock.isPending) clock.run(1);
    expect(log.filter((name) => name === "b").length).toBeGreaterThan(90);
  });

  test("stops a job, also out of the job itself", () => {
    const { clock, log, job } = setup();
    clock.inSlices = true;
    const stopped = job("a", 100);
    clock.start(stopped);
    clock.stop(stopped);
    expect(clock.isPending).toBe(false);
    const own = job("b", 100, (left) => {
      if (left === 90) clock.stop(own);
    });
    clock.start(own);
    log.length = 0;
    clock.run(100);
    expect([log.length < 10, clock.isPending]).toEqual([true, false]);
  });

  test("forgets a job that breaks, and goes on with others", () => {
    const { clock, log, job } = setup();
    clock.inSlices = true;
    clock.start(
      job("broken", 100, (left) => {
        if (left < 90) throw new Error("a defect");
      }),
    );
    clock.start(job("whole", 20));
    expect(() => {
      while (clock.isPending) clock.run(1);
    }).toThrow("a defect");
    while (clock.isPending) clock.run(1);
    expect(log.filter((name) => name === "whole")).toHaveLength(20);
  });

  test("goes on with one that is started again", () => {
    const { clock, log, job } = setup();
    clock.inSlices = true;
    const again = job("a", 10);
    clock.start(again);
    const before = log.length;
    clock.start(again);
    expect(log.length).toBe(before);
    while (clock.isPending) clock.run(1);
    expect(log).toHaveLength(10);
  });
});
