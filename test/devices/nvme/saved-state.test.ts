import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { NvmeDevice } from "../../../src/devices/kinds/nvme/nvme-device.ts";
import * as reg from "../../../src/devices/kinds/nvme/registers.ts";
import { SavedStateError } from "../../../src/devices/saved-state.ts";
import { enabled, makeNvme, TestBus, type TestDriver } from "./bench.ts";

const DATA = 0x10_0000;
const BLOCK = 512;
const FLUSH = 0x00;
const WRITE = 0x01;
const READ = 0x02;
const AER = 0x0c;

/** Puts another device in the place of the driver's, with its memory: what a migration does. */
function move(driver: TestDriver, options: Readonly<Record<string, unknown>> = {}): void {
  const bus = new TestBus();
  const device = makeNvme(bus, options);
  driver.device.pause();
  for (let pieces = 0; driver.bus.clock.isPending || driver.device.isBusy(); pieces++) {
    if (pieces > 10_000) throw new Error("the device does not come to rest");
    driver.bus.clock.runPieces(1);
  }
  bus.memory.set(driver.bus.memory);
  device.restore(driver.device.save());
  for (const [i, memory] of driver.device.memories.entries()) {
    const pieces = [...memory.pieces()].map((number): [number, Uint8Array] => [number, memory.piece(number)!.slice()]);
    device.memories[i]!.replace(new Map(pieces));
  }
  bus.clock.inSlices = driver.bus.clock.inSlices;
  driver.bus = bus;
  driver.device = device;
  device.resume();
}

describe("a controller's state", () => {
  test("goes into another one with its queues, its features and the commands that nobody has taken yet", () => {
    const driver = enabled({ size: 64 * BLOCK });
    const queue = driver.makeQueues();
    driver.adminCommand({ opcode: 9, dwords: [0x04, 0x150] });
    driver.bus.memory.fill(0x5a, DATA, DATA + BLOCK);
    expect(driver.command(queue, { opcode: WRITE, nsid: 1, prp1: DATA, dwords: [7, 0, 0] }).status).toBe(0);
    const event = driver.submit(driver.admin, { opcode: AER });
    move(driver, { size: 64 * BLOCK });
    expect(driver.read(reg.CSTS)).toBe(1);
    driver.bus.memory.fill(0, DATA, DATA + BLOCK);
    expect(driver.command(queue, { opcode: READ, nsid: 1, prp1: DATA, dwords: [7, 0, 0] }).status).toBe(0);
    expect(driver.bus.memory.subarray(DATA, DATA + BLOCK).every((byte) => byte === 0x5a)).toBe(true);
    expect(driver.adminCommand({ opcode: 10, dwords: [0x04] }).result).toBe(0x150);
    // the event request is still outstanding: a wrong doorbell completes it
    driver.write(reg.tailDoorbell(1), 99);
    expect(driver.take(driver.admin)).toMatchObject({ id: event, status: 0 });
  });

  test("has completions that the host had no room for, and tells of those that it has not taken", () => {
    const driver = enabled();
    const queue = driver.makeQueues(1, 16, 3);
    // completions are not taken: the queue is full at 15
    const ids = Array.from({ length: 15 }, () => driver.submit(queue, { opcode: FLUSH, nsid: 1 }));
    ids.push(driver.submit(queue, { opcode: FLUSH, nsid: 1 }));
    move(driver);
    expect(driver.bus.messages).toEqual([3]);
    const taken = ids.map(() => driver.take(queue));
    expect(taken.map((each) => each?.id)).toEqual(ids);
    expect(driver.take(queue)).toBeUndefined();
  });

  type Step = { readonly what: "write" | "read" | "move" | "flush"; readonly first: number; readonly seed: number };
  const step: fc.Arbitrary<Step> = fc.record({
    what: fc.constantFrom("write", "write", "read", "read", "flush", "move"),
    first: fc.nat(63),
    seed: fc.nat(255),
  });

  test("may change places between any two pieces of its work, and no command is lost, done twice or torn", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(5), (steps, pieces) => {
        const driver = enabled({ size: 64 * BLOCK });
        const queue = driver.makeQueues();
        driver.bus.clock.inSlices = true;
        const disk = Buffer.alloc(64 * BLOCK);
        const outstanding = new Map<number, () => void>();
        const take = () => {
          for (let done = driver.take(queue); done; done = driver.take(queue)) {
            expect(done.status).toBe(0);
            const over = outstanding.get(done.id);
            if (!over) throw new Error(`command ${done.id} was completed twice, or never given`);
            over();
            outstanding.delete(done.id);
          }
        };
        for (const [i, { what, first, seed }] of steps.entries()) {
          if (what === "move") {
            move(driver, { size: 64 * BLOCK });
            take();
            continue;
          }
          // what is read must not be written before it is over
          while (outstanding.size > 0 && (what !== "write" || outstanding.size >= 14)) {
            driver.bus.clock.runPieces(1 + pieces);
            take();
          }
          const page = DATA + 4096 * (i % 64);
          const dwords = [first, 0, 0];
          if (what === "write") driver.bus.memory.fill(seed, page, page + BLOCK);
          const opcode = { write: WRITE, read: READ, flush: FLUSH }[what];
          const id = driver.submit(queue, { opcode, nsid: 1, prp1: page, dwords });
          const expected = Buffer.from(disk.subarray(first * BLOCK, (first + 1) * BLOCK));
          if (what === "write") disk.fill(seed, first * BLOCK, (first + 1) * BLOCK);
          outstanding.set(id, () => {
            if (what === "read") expect(driver.bus.memory.subarray(page, page + BLOCK).equals(expected)).toBe(true);
          });
          driver.bus.clock.runPieces(pieces);
          take();
        }
        for (let tries = 0; outstanding.size > 0 && tries < 1000; tries++) {
          driver.bus.clock.runPieces(1);
          take();
        }
        expect(outstanding.size).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test("is refused by a controller of other facts, in another form, or broken, which is then as before", () => {
    const driver = enabled();
    driver.device.pause();
    const saved = driver.device.save();
    const refused = (device: NvmeDevice, state: typeof saved) => {
      const before = device.save();
      expect(() => device.restore(state)).toThrow(SavedStateError);
      expect(device.save()).toEqual(before);
    };
    refused(makeNvme(new TestBus(), { serial: "other" }), saved);
    refused(makeNvme(new TestBus(), { size: 2 ** 20 }), saved);
    refused(makeNvme(new TestBus()), { ...saved, version: 2 });
    refused(makeNvme(new TestBus()), { ...saved, bytes: saved.bytes.subarray(1) });
    const changed = (from: string | RegExp, to: string) => {
      const text = Buffer.from(saved.bytes).toString();
      expect(text.replace(from, to)).not.toBe(text);
      refused(makeNvme(new TestBus()), { version: 1, bytes: Buffer.from(text.replace(from, to)) });
    };
    const submissions = /"submissions":\[\{"id":0,"address":"1000","size":16,"completions":0,"head":0/;
    changed('"submissions"', '"others"');
    changed(submissions, '"submissions":[{"id":0,"address":"1000","size":0,"completions":0,"head":0');
    changed(submissions, '"submissions":[{"id":0,"address":"1000","size":16,"completions":0,"head":99');
    changed(submissions, '"submissions":[{"id":0,"address":"1000","size":16,"completions":7,"head":0');
    changed('"address":"2000"', '"address":"12g"');
    changed('"pending":[]', '"pending":[{"queue":9,"id":0,"status":0,"result":0}]');
    changed('"requests":[]', '"requests":["00"]');
    changed('"format":0', '"format":99');
    changed(/"registers":"[0-9a-f]+"/, '"registers":"00"');
  });
});
