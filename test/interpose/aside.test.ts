import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { AsideJobs } from "../../src/interpose/aside/aside-jobs.ts";
import { threadCode } from "../../src/interpose/aside/thread-code.ts";
import { HOST_CALLS } from "../../src/interpose/host-calls.ts";
import { syscall } from "../../src/interpose/libc.ts";
import { scratchFolder } from "../cli/uvfio.ts";
import { testAssembled } from "./assembled.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const PATIENT_MS = 20_000;

describe("the threads' code is what its source assembles to", () => {
  testAssembled("aside", scratch.path, threadCode);
});

describe("system calls that are made aside", () => {
  const reading = (fd: number) =>
    function* (room: { address: number; bytes: Buffer }) {
      const count: number = yield [HOST_CALLS.read, fd, room.address, 4] as const;
      return count < 0 ? count : room.bytes.toString("latin1", 0, count);
    };
  /** A pipe: the end for reading, and what writes to the other. */
  function pipe() {
    const ends = fs.mkdtempSync(path.join(scratch.path, "pipe-"));
    spawnSync("mkfifo", [path.join(ends, "fifo")]);
    const fd = fs.openSync(path.join(ends, "fifo"), "r+");
    return { fd, write: (text: string) => fs.writeSync(fd, text), close: () => fs.closeSync(fd) };
  }

  test("return what they return, one after the other", () => {
    const jobs = new AsideJobs();
    const job = jobs.run(
      1,
      function* () {
        const pid: number = yield [HOST_CALLS.pidfd_open, process.pid, 0] as const;
        const closed: number = yield [HOST_CALLS.close, pid] as const;
        const again: number = yield [HOST_CALLS.close, pid] as const;
        return [pid > 2, closed, again];
      },
      PATIENT_MS,
    );
    expect(job?.value).toEqual([true, 0, -9]);
    jobs.close();
  });

  test("are not waited for longer than one wants, and tell when they have ended", async () => {
    const jobs = new AsideJobs();
    const { fd, write, close } = pipe();
    const job = jobs.run(1, reading(fd), 1)!;
    expect(job.isDone).toBe(false);
    expect(jobs.late).toBe(1);
    let told = 0;
    job.whenDone = () => told++;
    write("late");
    while (told === 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      jobs.hear();
    }
    expect([job.value, told, jobs.late]).toEqual(["late", 1, 0]);
    close();
    jobs.close();
  });

  test("are given up: nobody hears of them, and their threads serve others", async () => {
    const jobs = new AsideJobs();
    const { fd, write, close } = pipe();
    let ended = false;
    const job = jobs.run(
      1,
      function* (room) {
        try {
          yield* reading(fd)(room);
          throw new Error("goes on");
        } finally {
          ended = true;
        }
      },
      1,
    )!;
    job.drop();
    write("late");
    while (jobs.late > 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      jobs.hear();
    }
    expect(ended).toBe(true);
    close();
    jobs.close();
  });

  test("are bounded for each client", () => {
    const jobs = new AsideJobs();
    const { fd, write } = pipe();
    const late = [];
    for (let job = jobs.run(1, reading(fd), 0); job !== undefined; job = jobs.run(1, reading(fd), 0)) late.push(job);
    expect(late).toHaveLength(32);
    expect(
      jobs.run(
        2,
        function* () {
          return (yield [HOST_CALLS.close, -1] as const) as number;
        },
        PATIENT_MS,
      )?.value,
    ).toBe(-9);
    for (const _ of late) write("late");
    expect(syscall(HOST_CALLS.close, -1)).toBe(-9);
  });
});
