import { describe, expect, test } from "vitest";
import { defineDevice } from "../../src/devices/define-device.ts";
import { SavedStateError } from "../../src/devices/saved-state.ts";
import { testBench } from "../../src/devices/test-bench.ts";

const REGISTERS = { A: { at: 0 }, B: { at: 8, width: 8 as const } };

describe("a device that is defined", () => {
  test("has registers and memory in one BAR, each where it says", () => {
    const mixed = defineDevice({
      id: "1234:0001",
      bars: { 0: { size: 4096, registers: REGISTERS, memory: [{ at: 0x800, size: 0x100 }] } },
    });
    const bench = testBench(mixed);
    bench.write(0, 0x800, 0x1122_3344);
    bench.write(0, 0, 7);
    expect([bench.read(0, 0x800), bench.read(0, 0x802, 2), bench.read(0, 0)]).toEqual([0x1122_3344n, 0x1122n, 7n]);
    expect(bench.reports).toEqual([]);
    bench.read(0, 0x900);
    expect(bench.reports).toEqual([expect.stringMatching(/0x900 of BAR 0, where the model has no such register/)]);
  });

  test("takes narrower and wider accesses: parts of a register, and several", () => {
    const written: [string, bigint][] = [];
    const hear = (name: string) => (_: unknown, value: bigint) => void written.push([name, value]);
    const bench = testBench(
      defineDevice({
        id: "1234:0001",
        bars: {
          0: {
            size: 4096,
            registers: {
              A: { at: 0, reset: 0x4433_2211, write: hear("A") },
              B: { at: 4, reset: 0x8877_6655, writable: 0xffff, write: hear("B") },
              C: { at: 8, width: 2, reset: 0xbbaa },
            },
          },
        },
      }),
    );
    expect([bench.read(0, 1, 2), bench.read(0, 0, 8), bench.read(0, 6, 4)]).toEqual([
      0x3322n,
      0x8877_6655_4433_2211n,
      0xbbaa_8877n,
    ]);
    bench.write(0, 2, 0xee, 1);
    expect(bench.read(0, 0)).toBe(0x44ee_2211n);
    bench.write(0, 0, 0x2222_2222_1111_1111n, 8);
    expect([bench.read(0, 0), bench.read(0, 4)]).toEqual([0x1111_1111n, 0x8877_2222n]);
    expect(written).toEqual([
      ["A", 0xee_0000n],
      ["A", 0x1111_1111n],
      ["B", 0x2222_2222n],
    ]);
    expect(bench.reports).toEqual([]);
    bench.read(0, 10, 2);
    expect(bench.reports).toHaveLength(1);
  });

  test("puts MSI-X into a BAR of its own, the last that is free, or where it is told", () => {
    const bars = (kind: ReturnType<typeof defineDevice>) => kind.devices[0]!.bars;
    const plain = defineDevice({ id: "1234:0001", msix: 300, bars: { 5: { size: 64 } } });
    expect(bars(plain)).toEqual([
      { index: 4, size: 8192, type: "memory" },
      { index: 5, size: 64, type: "memory" },
    ]);
    const told = defineDevice({
      id: "1234:0001",
      msix: { vectors: 4, bar: 0, offset: 0x100 },
      bars: { 0: { size: 4096, registers: REGISTERS } },
    });
    expect(bars(told)).toHaveLength(1);
    const ids = (kind: typeof told) => {
      const config = kind.config({ name: "", options: {} });
      return [config.capabilities.map(({ id }) => id), config.extended?.length ?? 0];
    };
    expect([ids(plain), ids(told)]).toEqual([
      [[0x11, 0x13], 0],
      [[0x11, 0x13], 0],
    ]);
    const both = defineDevice({ id: "1234:0001", express: true, msix: 2, vectors: 4, bars: {} });
    expect(ids(both as typeof told)).toEqual([[0x05, 0x11, 0x10], 1]);
  });

  test("may be mapped where one of its BARs may", () => {
    const kind = defineDevice({
      id: "1234:0001",
      bars: { 0: { size: 4096, registers: REGISTERS }, 2: { size: 4096, mmap: true } },
    });
    const model = kind.create(
      {
        clock: undefined as never,
        messagesEnabled: false,
        sendMessage() {},
        setLine() {},
        dmaRead: () => false,
        dmaWrite: () => false,
      },
      { name: "", options: {} },
    );
    expect([kind.mmap, model.isMappable?.(0), model.isMappable?.(2)]).toEqual([true, false, true]);
  });

  test.each<[string, () => unknown, RegExp]>([
    ["memory without registers", () => bar({ size: 64, memory: [{ at: 0, size: 8 }] }), /without it is all memory/],
    ["memory on a register", () => bar({ size: 64, registers: REGISTERS, memory: [{ at: 8, size: 8 }] }), /lies on B/],
    ["memory outside", () => bar({ size: 64, registers: REGISTERS, memory: [{ at: 64, size: 8 }] }), /does not fit/],
    [
      "both mapped",
      () => bar({ size: 64, registers: REGISTERS, memory: [{ at: 16, size: 8 }], mmap: true }),
      /cannot be mapped/,
    ],
    ["mapped ports", () => bar({ size: 64, type: "io", registers: REGISTERS, mmap: true }), /ports cannot be mapped/],
    ["0 vectors", () => defineDevice({ id: "1234:0001", msix: 0, bars: {} }), /msix: 0 vectors/],
    ["a table on a register", () => table(8), /its table lies on B/],
    ["a table outside", () => table(4080), /no place for 40 bytes/],
    [
      "a table in memory",
      () => defineDevice({ id: "1234:0001", msix: { vectors: 1, bar: 0 }, bars: { 0: { size: 64 } } }),
      /has no registers/,
    ],
    [
      "a wide BAR on another",
      () => defineDevice({ id: "1234:0001", bars: { 0: { size: 64, type: "memory64" }, 1: { size: 64 } } }),
      /takes number 1 too/,
    ],
  ])("%s is refused with its place", (_what, make, message) => {
    expect(make).toThrow(RangeError);
    expect(make).toThrow(message);
  });

  const ticking = defineDevice<{ count: number }>({
    id: "1234:0001",
    bars: { 0: { size: 64, registers: { ...REGISTERS, GO: { at: 16, write: (device) => device.start("tick", 10) } } } },
    timers: {
      tick(device) {
        device.state.count++;
        device.raise();
      },
    },
    state: () => ({ count: 0 }),
    save: ({ count }) => count,
    restore: (saved) => {
      if (typeof saved !== "number") throw new Error("no count");
      return { count: saved };
    },
  });

  test("has timers that a reset stops and that go on where its state goes to", () => {
    const [first, second] = [testBench(ticking), testBench(ticking)];
    first.write(0, 16, 1);
    first.pass(9);
    expect(first.messages).toEqual([]);
    second.restore(first.save());
    first.pass(1);
    expect([first.messages, second.messages]).toEqual([[0], []]);
    second.pass(1);
    expect(second.messages).toEqual([0]);
    second.write(0, 16, 1);
    second.reset();
    second.pass(100);
    expect(second.messages).toEqual([0]);
  });

  test("refuses a state that is not its own, and is as before", () => {
    const bench = testBench(ticking);
    bench.write(0, 0, 5);
    const { state, memories } = bench.save();
    const refused = (text: string) => {
      const other = { version: state.version, bytes: Buffer.from(text) };
      expect(() => bench.restore({ state: other, memories })).toThrow();
      expect(bench.read(0, 0)).toBe(5n);
    };
    const text = Buffer.from(state.bytes).toString();
    refused("{");
    refused(text.replace('"A"', '"X"'));
    refused(text.replace('"timers":{}', '"timers":{"other":1}'));
    refused(text.replace('"state":0', '"state":"none"'));
    expect(() => bench.restore({ state: { ...state, version: 9 }, memories })).toThrow(SavedStateError);
    expect(() => testBench(defineDevice({ id: "1234:0001", bars: {}, state: () => 1 })).save()).toThrow(
      /does not say how/,
    );
  });
});

function bar(definition: Parameters<typeof defineDevice>[0]["bars"][number]) {
  return defineDevice({ id: "1234:0001", bars: { 0: definition } });
}

function table(offset: number) {
  return defineDevice({
    id: "1234:0001",
    msix: { vectors: 2, bar: 0, offset },
    bars: { 0: { size: 4096, registers: REGISTERS } },
  });
}
