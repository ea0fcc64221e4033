import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DeviceProgram, intelHost } from "./device-program.ts";

const BUFFER = 0x40000n;
const PAGE = 4096;
const TO_DEVICE = 1n;
const TO_MEMORY = 3n;

function setUp() {
  const warnings: string[] = [];
  const program = new DeviceProgram(
    "edu",
    intelHost((message) => warnings.push(message)),
  );
  program.setConfig(4, 2, 6);
  const bar = program.mapRegion(0, 0x10_0000);
  const run = (source: bigint, destination: bigint, count: number, command: bigint) => {
    program.poke64(bar + 0x80, source);
    program.poke64(bar + 0x88, destination);
    program.poke64(bar + 0x90, BigInt(count));
    program.poke64(bar + 0x98, command);
    expect(program.peek(bar + 0x98, 8)[0]! & 1).toBe(0);
  };
  return {
    program,
    warnings,
    fromMemory: (iova: bigint, count: number) => run(iova, BUFFER, count, TO_DEVICE),
    toMemory: (iova: bigint, count: number) => run(BUFFER, iova, count, TO_MEMORY),
    run,
    bar,
  };
}

const pattern = (length: number, seed = 1) => Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);

describe("DMA of edu through mappings", () => {
  test("copies between pages, byte exact and nothing beside", () => {
    const { program, fromMemory, toMemory, warnings } = setUp();
    const memory = program.memory(4 * PAGE);
    program.poke(memory, pattern(2 * PAGE));
    expect(program.map(program.containerFd, 0x10_0000n, memory, BigInt(4 * PAGE))).toBe(0);
    fromMemory(0x10_0123n, 0x800);
    toMemory(0x10_2fffn, 0x800);
    expect(program.peek(memory + 0x2fff, 0x800)).toEqual(pattern(2 * PAGE).slice(0x123, 0x923));
    expect(program.peek(memory + 0x2000, 0xfff)).toEqual(new Uint8Array(0xfff));
    expect(program.peek(memory + 0x37ff, 0x801)).toEqual(new Uint8Array(0x801));
    expect(warnings).toEqual([]);
  });

  test("an access runs through neighbouring mappings, whatever order their memory has", () => {
    const { program, toMemory, fromMemory } = setUp();
    const memory = program.memory(2 * PAGE);
    program.map(program.containerFd, 0x2000n, memory + PAGE, BigInt(PAGE));
    program.map(program.containerFd, 0x3000n, memory, BigInt(PAGE));
    program.poke(memory, pattern(2 * PAGE));
    fromMemory(0x2f00n, 0x200);
    program.poke(memory, new Uint8Array(2 * PAGE));
    toMemory(0x2f80n, 0x100);
    const all = pattern(2 * PAGE);
    expect(program.peek(memory + 0x1f80, 0x80)).toEqual(all.slice(0x1f00, 0x1f80));
    expect(program.peek(memory, 0x80)).toEqual(all.slice(0x1f80, 0x2000));
  });

  test("an unmapped address transfers nothing, and the warning names device, address and the nearest mapping", () => {
    const { program, fromMemory, toMemory, warnings } = setUp();
    const memory = program.memory(PAGE);
    program.poke(memory, pattern(PAGE));
    program.map(program.containerFd, 0x10_0000n, memory, BigInt(PAGE));
    toMemory(0x90_0000n, 64);
    expect(program.peek(memory, PAGE)).toEqual(pattern(PAGE));
    expect(warnings[0]).toMatch(
      /0000:00:04.0: DMA write of 0x40 bytes at iova 0x900000.*nothing is mapped.*0x100000-0x100fff/,
    );
    fromMemory(0x10_0000n, 64);
    fromMemory(0x90_0000n, 64);
    toMemory(0x10_0100n, 64);
    expect(program.peek(memory + 0x100, 64)).toEqual(new Uint8Array(64));
  });

  test("after an unmap the page is out of reach, after a new map it is the other page", () => {
    const { program, toMemory, fromMemory } = setUp();
    const one = program.memory(PAGE);
    const other = program.memory(PAGE);
    program.poke(one, pattern(PAGE, 3));
    program.map(program.containerFd, 0x1000n, one, BigInt(PAGE));
    fromMemory(0x1000n, 32);
    program.poke(one, new Uint8Array(PAGE));
    expect(program.unmap(program.containerFd, 0x1000n, BigInt(PAGE))).toBe(BigInt(PAGE));
    toMemory(0x1000n, 32);
    expect(program.peek(one, 32)).toEqual(new Uint8Array(32));
    program.map(program.containerFd, 0x1000n, other, BigInt(PAGE));
    toMemory(0x1000n, 32);
    expect([program.peek(one, 32), program.peek(other, 32)]).toEqual([new Uint8Array(32), pattern(32, 3)]);
  });

  test("a read-only mapping is not written", () => {
    const { program, fromMemory, toMemory, warnings } = setUp();
    const memory = program.memory(PAGE);
    program.poke(memory, pattern(PAGE));
    program.map(program.containerFd, 0x1000n, memory, BigInt(PAGE), 1);
    fromMemory(0x1000n, 64);
    toMemory(0x1100n, 64);
    expect(program.peek(memory, PAGE)).toEqual(pattern(PAGE));
    expect(warnings.join()).toMatch(/read-only/);
  });

  test("memory that the program unmaps stays the device's while it is mapped for DMA", () => {
    const { program, toMemory, fromMemory } = setUp();
    const memory = program.memory(PAGE);
    const copy = program.memory(PAGE);
    program.poke(memory, pattern(PAGE, 9));
    program.map(program.containerFd, 0x1000n, memory, BigInt(PAGE));
    program.map(program.containerFd, 0x2000n, copy, BigInt(PAGE));
    program.task.memory.munmap(memory, PAGE);
    fromMemory(0x1000n, 64);
    toMemory(0x2000n, 64);
    expect(program.peek(copy, 64)).toEqual(pattern(64, 9));
  });

  test("a transfer that leaves the device's buffer does not happen", () => {
    const { program, run, fromMemory } = setUp();
    const memory = program.memory(2 * PAGE);
    program.poke(memory, pattern(PAGE));
    program.map(program.containerFd, 0x1000n, memory, BigInt(2 * PAGE));
    fromMemory(0x1000n, PAGE);
    run(BUFFER + 1n, 0x2000n, PAGE, TO_MEMORY);
    run(BUFFER - 1n, 0x2000n, 8, TO_MEMORY);
    expect(program.peek(memory + PAGE, PAGE)).toEqual(new Uint8Array(PAGE));
  });

  test("a DMA interrupt comes with each command that asks for one", () => {
    const { program, run } = setUp();
    const memory = program.memory(PAGE);
    program.map(program.containerFd, 0x1000n, memory, BigInt(PAGE));
    const { fd, file } = program.eventfd();
    program.setIrqs(1, "trigger", "eventfd", 0, 1, [fd]);
    for (let i = 0; i < 4; i++) run(0x1000n, BUFFER, 16, TO_DEVICE | 4n);
    run(0x1000n, BUFFER, 16, TO_DEVICE);
    expect(file.take()).toBe(4n);
  });

  test("random copies agree with an array, faults included", () => {
    const { program, fromMemory, toMemory } = setUp();
    const pages = 8;
    const memory = program.memory(pages * PAGE);
    // every third page is a hole
    const isMapped = (page: number) => page % 3 !== 2;
    for (let page = 0; page < pages; page++) {
      if (isMapped(page)) program.map(program.containerFd, BigInt(page * PAGE), memory + page * PAGE, BigInt(PAGE));
    }
    const expected = pattern(pages * PAGE, 5);
    program.poke(memory, expected);
    const place = fc.record({ from: fc.nat(pages * PAGE - 1), to: fc.nat(pages * PAGE - 1), count: fc.nat(PAGE) });
    fc.assert(
      fc.property(place, ({ from, to, count }) => {
        fromMemory(BigInt(from), count);
        toMemory(BigInt(to), count);
        const moved = Uint8Array.from({ length: count }, (_, i) => (isReached(from + i) ? expected[from + i]! : 0));
        moved.forEach((byte, i) => {
          if (isReached(to + i)) expected[to + i] = byte;
        });
        expect(Buffer.compare(program.peek(memory, pages * PAGE), expected)).toBe(0);
      }),
      { numRuns: 200 },
    );

    function isReached(at: number): boolean {
      return at < pages * PAGE && isMapped(Math.floor(at / PAGE));
    }
  });
});
