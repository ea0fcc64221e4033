import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AccessWidth } from "../../../src/devices/device-model.ts";
import * as reg from "../../../src/devices/kinds/nvme/registers.ts";
import { enabled, makeNvme, TestBus } from "./bench.ts";

const DATA = 0x10_0000;
const LIST = 0x20_0000;
const BLOCK = 512;
const BLOCKS = 64;

describe("against a small disk that is known", () => {
  type Step = {
    readonly what: "write" | "read" | "zero" | "compare" | "discard";
    first: number;
    count: number;
    seed: number;
  };
  const step: fc.Arbitrary<Step> = fc.record({
    what: fc.constantFrom("write", "read", "zero", "compare", "discard"),
    first: fc.nat(BLOCKS + 4),
    count: fc.integer({ min: 1, max: 24 }),
    seed: fc.nat(255),
  });

  test("random commands leave what they should, whatever the place of their pages", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(4095), (steps, offset) => {
        const driver = enabled({ size: BLOCKS * BLOCK });
        const queue = driver.makeQueues();
        const disk = Buffer.alloc(BLOCKS * BLOCK);
        const { memory } = driver.bus;
        // pages in the opposite order of their addresses, behind a list
        const pages = Array.from({ length: 8 }, (_, index) => DATA + 4096 * (8 - index));
        for (const [index, page] of pages.slice(1).entries()) memory.writeBigUInt64LE(BigInt(page), LIST + 8 * index);
        const place = (length: number) => {
          const first = Math.min(length, 4096 - offset);
          return { prp1: pages[0]! + offset, prp2: length - first > 4096 ? LIST : pages[1]! };
        };
        const bytesOf = (length: number) =>
          Array.from({ length }, (_, i) => {
            const at = offset + i;
            return pages[Math.floor(at / 4096)]! + (at % 4096);
          });
        for (const { what, first, count, seed } of steps) {
          const isOut = first + count > BLOCKS;
          const length = count * BLOCK;
          const at = bytesOf(length);
          const start = first * BLOCK;
          const dwords = [first, 0, count - 1];
          if (what === "discard") {
            memory.writeUInt32LE(count, LIST + 0x800 + 4);
            memory.writeBigUInt64LE(BigInt(first), LIST + 0x800 + 8);
            const completed = driver.command(queue, { opcode: 9, nsid: 1, prp1: LIST + 0x800, dwords: [0, 4] });
            expect(completed.status).toBe(0);
            if (!isOut) disk.fill(0, start, start + length);
            continue;
          }
          if (what === "zero") {
            const completed = driver.command(queue, { opcode: 8, nsid: 1, dwords });
            expect(completed.status).toBe(isOut ? 0x80 : 0);
            if (!isOut) disk.fill(0, start, start + length);
            continue;
          }
          for (const [i, address] of at.entries()) memory[address] = what === "read" ? 0xee : (seed + i) & 0xff;
          const isSame = !isOut && at.every((address, i) => memory[address] === disk[start + i]);
          const opcode = { write: 1, read: 2, compare: 5 }[what];
          const completed = driver.command(queue, { opcode, nsid: 1, ...place(length), dwords });
          const failure = what === "compare" && !isSame ? 0x285 : 0;
          expect(completed.status).toBe(isOut ? 0x80 : failure);
          if (isOut) continue;
          if (what === "write") for (const [i, address] of at.entries()) disk[start + i] = memory[address]!;
          if (what === "read")
            expect(Buffer.from(at.map((address) => memory[address]!))).toEqual(disk.subarray(start, start + length));
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe("bad input", () => {
  const queueEntry = fc.uint8Array({ minLength: 64, maxLength: 64 });

  test("random bytes in every register and in every queue never throw, and every command is answered or waits", () => {
    const write = fc.record({
      offset: fc.oneof(fc.nat(0x60), fc.constantFrom(0x14, 0x1000, 0x1004, 0x1008, 0x100c), fc.nat(0x3fff)),
      width: fc.constantFrom<AccessWidth>(1, 2, 4, 8),
      value: fc.oneof(fc.bigInt(0n, 2n ** 64n - 1n), fc.bigInt(0n, 31n)),
    });
    const options = fc.constantFrom(
      {},
      { lba: 4096, cmb: "1M", pmr: "1M" },
      { namespaces: [{ size: "1M" }, { size: "1M" }] },
    );
    fc.assert(
      fc.property(options, fc.array(fc.oneof(write, queueEntry), { maxLength: 80 }), (given, steps) => {
        const driver = enabled({ size: undefined, ...given });
        const queue = driver.makeQueues();
        for (const each of steps) {
          if (each instanceof Uint8Array) {
            for (const target of [driver.admin, queue]) {
              driver.bus.memory.set(each, target.submissions + 64 * target.tail);
              target.tail = (target.tail + 1) % target.size;
              driver.ring(target);
            }
            continue;
          }
          const offset = each.offset - (each.offset % each.width);
          driver.device.write(0, offset, each.width, BigInt.asUintN(8 * each.width, each.value));
          driver.device.read(0, offset, each.width);
        }
        expect(driver.bus.clock.isPending).toBe(false);
        driver.device.reset();
        driver.admin.tail = driver.admin.head = 0;
        driver.admin.phase = 1;
        driver.bus.memory.fill(0);
        driver.enable();
        expect(driver.read(reg.CSTS)).toBe(1);
        expect(driver.adminCommand({ opcode: 6, prp1: DATA, dwords: [1] }).status).toBe(0);
      }),
      { numRuns: 150 },
    );
  });

  test("random commands with sensible opcodes are answered each", () => {
    const command = fc.record({
      opcode: fc.constantFrom(0, 1, 2, 4, 5, 6, 8, 9, 0x0a, 0x0c, 0x15, 0x19, 0x1a, 0x80),
      flags: fc.constantFrom(0, 0, 0x40, 0x80, 0xc0, 1),
      nsid: fc.constantFrom(0, 1, 2, 0xffff_ffff),
      prp1: fc.constantFrom(DATA, DATA + 3, 0, 2 ** 40),
      prp2: fc.constantFrom(LIST, LIST + 4088, 1, 2 ** 40),
      dwords: fc.array(fc.oneof(fc.nat(300), fc.constantFrom(0xffff_ffff, 0x1_0000)), { minLength: 6, maxLength: 6 }),
    });
    fc.assert(
      fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
        const driver = enabled({ size: "1M" });
        const queue = driver.makeQueues(1, 64);
        for (const each of commands) {
          // what the queues are made of stays
          if (each.opcode !== 0 && each.opcode !== 4) driver.submit(driver.admin, each);
          while (driver.take(driver.admin));
          driver.submit(queue, each);
          expect(driver.take(queue)).toBeDefined();
        }
      }),
      { numRuns: 150 },
    );
  });

  test("a write whose data cannot be reached changes nothing", () => {
    const driver = enabled();
    const queue = driver.makeQueues();
    driver.bus.memory.fill(0x77, DATA, DATA + 8192);
    expect(driver.command(queue, { opcode: 1, nsid: 1, prp1: DATA, prp2: 2 ** 40, dwords: [0, 0, 15] })).toMatchObject({
      status: 4,
    });
    driver.command(queue, { opcode: 2, nsid: 1, prp1: DATA, prp2: DATA + 4096, dwords: [0, 0, 15] });
    expect(driver.bus.memory.subarray(DATA, DATA + 8192).equals(Buffer.alloc(8192))).toBe(true);
  });

  test("an SGL that is a circle ends", () => {
    const driver = enabled();
    const queue = driver.makeQueues();
    const { memory } = driver.bus;
    // a segment whose only descriptor is that segment
    memory.writeBigUInt64LE(BigInt(LIST), LIST);
    memory.writeUInt32LE(16, LIST + 8);
    memory[LIST + 15] = 0x20;
    driver.submit(queue, { opcode: 2, nsid: 1, flags: 0x40, dwords: [0, 0, 0] }, false);
    memory.copy(memory, queue.submissions + 24, LIST, LIST + 16);
    driver.ring(queue);
    expect(driver.take(queue)).toMatchObject({ status: 0x0d, doNotRetry: true });
  });
});

describe("long work", () => {
  test("goes on in slices, other queues meanwhile too, and ends with a reset", () => {
    const driver = enabled({ size: "256M" });
    driver.bus.clock.inSlices = true;
    const [long, short] = [driver.makeQueues(1), driver.makeQueues(2)];
    // what is not there cannot be erased
    const { memory } = driver.bus;
    memory.fill(0x55, DATA, DATA + 0x8_0000);
    for (let index = 0; index < 127; index++)
      memory.writeBigUInt64LE(BigInt(DATA + 4096 * (index + 1)), LIST + 8 * index);
    for (let at = 0; at < 64; at++) {
      driver.submit(long, { opcode: 1, nsid: 1, prp1: DATA, prp2: LIST, dwords: [at * 1024, 0, 1023] });
      driver.bus.clock.run(1);
      while (!driver.take(long)) driver.bus.clock.runPieces(1);
    }
    driver.submit(long, { opcode: 8, nsid: 1, dwords: [0, 0, 0xffff] });
    expect(driver.take(long)).toBeUndefined();
    expect(driver.bus.clock.isPending).toBe(true);
    driver.submit(short, { opcode: 2, nsid: 1, prp1: DATA, dwords: [0x1_0000, 0, 0] });
    for (let pieces = 0; pieces < 8; pieces++) driver.bus.clock.runPieces(1);
    expect(driver.take(short)).toMatchObject({ status: 0 });
    expect(driver.take(long)).toBeUndefined();
    driver.device.reset();
    expect(driver.bus.clock.isPending).toBe(false);
  });

  test("a disk of a terabyte in memory costs nothing until it is written", () => {
    const driver = enabled({ size: "1T", lba: 4096 });
    const queue = driver.makeQueues();
    expect(driver.command(queue, { opcode: 2, nsid: 1, prp1: DATA, dwords: [2 ** 28 - 1, 0, 0] }).status).toBe(0);
    expect(driver.adminCommand({ opcode: 0x80, nsid: 1, dwords: [4] }).status).toBe(0);
    expect(driver.command(queue, { opcode: 9, nsid: 1, prp1: DATA, dwords: [0, 4] }).status).toBe(0);
  });
});

test("options that do not go together are refused", () => {
  const refusal = (given: Readonly<Record<string, unknown>>) => {
    try {
      makeNvme(new TestBus(), given);
    } catch (error) {
      return String(error);
    }
    return undefined;
  };
  expect(refusal({ lba: 1024 })).toContain("1024 is not 512 or 4096");
  expect(refusal({ size: 1000 })).toContain("no multiple of a block of 512 bytes");
  expect(refusal({ image: "x", size: "1M" })).toContain("give one of both");
  expect(refusal({ namespaces: [{ sise: 1 }] })).toContain("entry 0: there is no sise (did you mean size?)");
  expect(refusal({ namespaces: [{ nsid: 2 }, { nsid: 2 }] })).toContain("nsid 2 is there twice");
  expect(refusal({ size: "1M", namespaces: [{}] })).toContain("not with namespaces");
  expect(refusal({ cmb: "3M" })).toContain("power of two");
});

test("a driver that keeps the admin queue's shadow doorbell, and rings only when the event index asks for it, is heard", () => {
  const driver = enabled();
  const { admin, bus } = driver;
  const [SHADOW, INDEX] = [DATA, DATA + 4096];
  driver.adminCommand({ opcode: 0x7c, prp1: SHADOW, prp2: INDEX });
  for (let round = 0; round < 40; round++) {
    const before = admin.tail;
    driver.submit(admin, { opcode: 0x0a, dwords: [7] }, false);
    bus.memory.writeUInt32LE(admin.tail, SHADOW);
    const index = bus.memory.readUInt32LE(INDEX);
    // the index lies from the old tail to before the new one
    if (((admin.tail - index - 1) & 0xffff) < ((admin.tail - before) & 0xffff)) driver.ring(admin);
    expect(driver.take(admin), `command ${round}`).toBeDefined();
  }
});
