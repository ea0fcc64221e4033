import { afterAll, describe, expect, test } from "vitest";
import { Beat } from "../../src/interpose/beat.ts";
import { CallChain, chainCode } from "../../src/interpose/call-chain.ts";
import { HOST_CALLS } from "../../src/interpose/host-calls.ts";
import { syscall } from "../../src/interpose/libc.ts";
import { Arena } from "../../src/native/arena.ts";
import { ERRNO } from "../../src/uapi/errno.ts";
import { scratchFolder } from "../cli/uvfio.ts";
import { Random } from "../iommu/vtd/guest.ts";
import { testAssembled } from "./assembled.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

describe("the chain's code is what its source assembles to", () => {
  testAssembled("chain", scratch.path, chainCode);
});

describe("a chain of system calls", () => {
  const memory = new Arena(64);
  const at = (word: number) => memory.address + 8 * word;
  const make = (steps: number) => CallChain.make(steps)!;

  test("makes them in turn, and has what each returned", () => {
    const chain = make(3);
    chain.call(0, HOST_CALLS.gettid);
    chain.call(1, HOST_CALLS.close, 1 << 30);
    chain.call(2, HOST_CALLS.eventfd2, 7, 0);
    expect(chain.run(0, 3)).toBe(3);
    expect(chain.result(0)).toBe(syscall(HOST_CALLS.gettid));
    expect(chain.result(1)).toBe(-ERRNO.EBADF);
    // the argument that one has given comes out of the next
    chain.call(0, HOST_CALLS.read, chain.result(2), at(0), 8);
    chain.checkResult(0, 8);
    chain.call(1, HOST_CALLS.close, chain.result(2));
    expect(chain.run(0, 2)).toBe(2);
    expect(memory.u64(0)).toBe(7);
    chain.free();
  });

  test("hands six arguments on, whole", () => {
    const chain = make(1);
    // mmap() of a page where there is none, at an address above 4 GiB
    const address = 0x1234_5678_9000;
    chain.call(0, HOST_CALLS.mmap, address, 4096, 3, 0x10_0022, -1 >>> 0, 0);
    expect(chain.run(0, 1)).toBe(1);
    chain.move(0, address, at(1));
    memory.setU64(8, 1);
    expect(chain.run(0, 1)).toBe(1);
    expect(memory.u64(8)).toBe(0);
    expect(syscall(HOST_CALLS.munmap, address, 4096)).toBe(0);
  });

  test("ends behind the first check that fails, or goes on elsewhere", () => {
    const chain = make(4);
    memory.setU64(0, 5);
    chain.check(0, at(0), 5);
    chain.call(1, HOST_CALLS.close, 1 << 30);
    chain.checkResult(1, 0);
    chain.call(2, HOST_CALLS.gettid);
    chain.end(3);
    expect(chain.run(0, 4)).toBe(1);
    chain.otherwise(1, 3);
    expect(chain.run(0, 4)).toBe(3);
    expect(chain.result(2)).toBe(0);
    chain.always(1);
    expect(chain.run(0, 4)).toBe(3);
    expect(chain.result(2)).toBeGreaterThan(0);
    memory.setU64(0, 6);
    expect(chain.run(0, 4)).toBe(0);
    expect(chain.run(2, 3)).toBe(3);
  });

  test.each([1, 2, 3])("does as a model of it does, with random steps (seed %i)", (seed) => {
    const chosen = new Random(seed);
    const random = (limit: number) => chosen.below(limit);
    const words = 8;
    for (let round = 0; round < 100; round++) {
      const steps = 1 + random(12);
      const chain = make(steps);
      const before = Array.from({ length: words }, () => random(3));
      for (const [word, value] of before.entries()) memory.setU64(8 * word, value);
      const model = [...before];
      const moves: { from: number; to: number; check: number; expected: number; other: number | undefined }[] = [];
      for (let step = 0; step < steps; step++) {
        const move = { from: random(words), to: random(words), check: random(words), expected: random(3) };
        // only forward: a chain has no end of its own
        const other = random(2) === 0 && step + 1 < steps ? step + 1 + random(steps - step - 1) : undefined;
        moves.push({ ...move, other });
        chain.move(step, at(move.from), at(move.to));
        chain.check(step, at(move.check), move.expected);
        if (other !== undefined) chain.otherwise(step, other);
      }
      let step = 0;
      while (step < steps) {
        const { from, to, check, expected, other } = moves[step]!;
        model[to] = model[from]!;
        if (model[check] === expected) step++;
        else if (other === undefined) break;
        else step = other;
      }
      expect({ seed, round, stop: chain.run(0, steps) }).toEqual({ seed, round, stop: step });
      expect(model.map((_, word) => memory.u64(8 * word))).toEqual(model);
      chain.free();
    }
  });
});

test("a beat rings while it is used, and once more", async () => {
  const beat = new Beat(5);
  const poll = async () => {
    const end = performance.now() + 2000;
    const buffer = new Arena(8);
    for (;;) {
      // struct pollfd {s32 fd, s16 events, s16 revents}
      buffer.setU32(0, beat.fd);
      buffer.setU32(4, 1);
      if (syscall(HOST_CALLS.ppoll, buffer.address, 1, 0, 0, 0) !== 0) break;
      if (performance.now() > end) return false;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    beat.hear();
    return true;
  };
  expect(beat.isOn).toBe(false);
  beat.use();
  expect([beat.isOn, beat.isDue]).toEqual([true, false]);
  expect([await poll(), beat.isOn, beat.isDue]).toEqual([true, true, true]);
  // nobody has used it since
  expect([await poll(), beat.isOn]).toEqual([true, false]);
  beat.use();
  beat.use();
  expect([await poll(), beat.isOn]).toEqual([true, true]);
  beat.close();
});
