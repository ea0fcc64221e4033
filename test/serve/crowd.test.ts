import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasCompiler } from "../cli/uvfio.ts";
import { type Service, Services } from "./service.ts";

/** UVFIO_CROWD=64 and UVFIO_TURNS=1000 are the figures of docs/serve.md, and take some minutes. */
const PROGRAMS = Number(process.env.UVFIO_CROWD ?? 12);
const TURNS = Number(process.env.UVFIO_TURNS ?? 40);
const THREADS = 16;
const CALLS = 200;
const MINUTES = 60_000;

describe.skipIf(!hasCompiler)("many programs on one served host", () => {
  let services: Services;
  let service: Service;
  beforeAll(async () => {
    services = new Services();
    service = await services.serve("crowd");
  });
  afterAll(() => services.remove());

  test(`at once: ${PROGRAMS} of ${THREADS} threads wait alike`, { timeout: 20 * MINUTES }, async () => {
    const crowd = Array.from({ length: PROGRAMS }, () => service.start("together", `${CALLS}`, `${THREADS}`));
    for (const running of crowd) await running.says("held", 600);
    for (const { child } of crowd) child.stdin!.end();
    const medians: number[] = [];
    for (const running of crowd) {
      const { status, stdout } = await running.finished;
      expect(status).toBe(0);
      medians.push(Number(/median (\d+)/.exec(stdout)![1]));
    }
    medians.sort((a, b) => a - b);
    const middle = medians[medians.length >> 1]!;
    console.log(`${PROGRAMS} programs: ${medians[0]}, ${middle}, ${medians.at(-1)} ns a call`);
    expect(medians.at(-1)! / middle).toBeLessThan(2);
  });

  test(`one after the other: ${TURNS} leave nothing`, { timeout: 60 * MINUTES }, async () => {
    const turn = async () => {
      const { status, stderr } = await service.start("open", "/dev/vfio/1").finished;
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    };
    for (let n = 0; n < 5; n++) await turn();
    const before = await settled(service);
    for (let n = 0; n < TURNS; n++) await turn();
    const after = await settled(service);
    console.log(`${TURNS} programs: ${before.kilobytes} kB before, ${after.kilobytes} kB after`);
    expect([after.descriptors, after.mounts]).toEqual([before.descriptors, before.mounts]);
    // one that waits for a program's memory is made when that is needed first, and kept
    expect(after.threads).toBeLessThanOrEqual(before.threads + 1);
    // what is collected now and then, and no more for more programs
    expect(after.kilobytes).toBeLessThan(before.kilobytes + 32 * 1024);
  });
});

/** What a server holds when all is quiet: descriptors by kind, threads, mounts, memory. */
async function settled({ running: { child } }: Service) {
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const folder = `/proc/${child.pid}`;
  const kinds = readdirSync(`${folder}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`${folder}/fd/${fd}`).replace(/\[\d+\]|^\/proc\/\d+/, "")];
    } catch {
      return [];
    }
  });
  return {
    descriptors: kinds.sort(),
    threads: readdirSync(`${folder}/task`).length,
    mounts: readFileSync(`${folder}/mountinfo`, "utf8").split("\n").length,
    kilobytes: Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`${folder}/status`, "utf8"))![1]),
  };
}
