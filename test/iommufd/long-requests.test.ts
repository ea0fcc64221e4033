import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PROT_READ, PROT_WRITE } from "../../src/kernel/model-areas.ts";
import type { RequestSteps } from "../../src/kernel/request-steps.ts";
import * as uapi from "../../src/uapi/iommufd.ts";
import { IommufdProgram } from "./iommufd-program.ts";

function setup() {
  const program = new IommufdProgram();
  const fd = program.iommufd();
  return { program, fd, ioas: program.ioas(fd) };
}

/** A request in steps; the structure lies at the start of fresh memory. */
function begin(program: IommufdProgram, fd: unknown, request: number, bytes: Uint8Array) {
  const address = program.memory(4096);
  program.task.memory.copyOut(address, bytes, bytes.length);
  const file = program.task.files.get(Number(fd))!;
  return { address, outcome: file.ioctlInSteps(program.task, request, address) };
}

function finish(outcome: number | RequestSteps): number {
  if (typeof outcome === "number") return outcome;
  for (;;) {
    const { done, value } = outcome.next();
    if (done) return value;
  }
}

function allowRequest(
  program: IommufdProgram,
  ioas: unknown,
  ranges: readonly (readonly [bigint, bigint])[],
  count = ranges.length,
) {
  const words = BigUint64Array.from(ranges.flat());
  // one page of ranges is there; what would follow is not
  const list = program.memory(Math.max(4096, words.byteLength));
  program.task.memory.copyOut(list, new Uint8Array(words.buffer), words.byteLength);
  return uapi.IommuIoasAllowIovas.encode({
    size: uapi.IommuIoasAllowIovas.size,
    ioas_id: Number(ioas),
    num_iovas: count,
    allowed_iovas: BigInt(list),
  });
}

describe("IOMMU_IOAS_ALLOW_IOVAS", () => {
  test("of many ranges takes steps, and counts from its last one on", () => {
    const { program, fd, ioas } = setup();
    const ranges = Array.from(
      { length: 20_000 },
      (_, i) => [BigInt(i ^ 1) * 0x20000n + 0x100000n, BigInt(i ^ 1) * 0x20000n + 0x10ffffn] as const,
    );
    const { outcome } = begin(program, fd, uapi.IOMMU_IOAS_ALLOW_IOVAS, allowRequest(program, ioas, ranges));
    const steps = outcome as RequestSteps;
    const memory = program.memory(4096);
    for (let i = 0; i < 10; i++) expect(steps.next().done).toBe(false);
    expect(program.mapIoas(fd, ioas, memory, 4096n)).toBe(0x1000n);
    expect(finish(steps)).toBe(0);
    expect(program.mapIoas(fd, ioas, memory, 4096n)).toBe(0x100000n);
  });

  test.each<[string, (readonly [bigint, bigint])[], number, string]>([
    [
      "a range that ends at its start",
      [
        [0n, 0xfffn],
        [0x5000n, 0x5000n],
      ],
      2,
      "EINVAL",
    ],
    [
      "an overlap",
      [
        [0x5000n, 0x5fffn],
        [0n, 0xfffn],
        [0x5fffn, 0x6fffn],
      ],
      3,
      "EINVAL",
    ],
    [
      "a list that ends behind readable memory",
      Array.from({ length: 256 }, (_, i) => [BigInt(i) * 16n, BigInt(i) * 16n + 8n] as const),
      300,
      "EFAULT",
    ],
    [
      "an overlap before the end of readable memory",
      Array.from({ length: 256 }, (_, i) => [BigInt(i % 255) * 16n, BigInt(i % 255) * 16n + 8n] as const),
      300,
      "EINVAL",
    ],
    ["more ranges than anybody has", [], 2 ** 32 - 1, "ENOMEM"],
  ])("with %s changes nothing", (_what, ranges, count, errno) => {
    const { program, fd, ioas } = setup();
    const request = allowRequest(program, ioas, ranges, count);
    expect(program.ioctlBytes(fd, uapi.IOMMU_IOAS_ALLOW_IOVAS, request)).toBe(errno);
    expect(program.mapIoas(fd, ioas, program.memory(4096), 4096n)).toBe(0x1000n);
  });
});

describe("IOMMU_IOAS_UNMAP", () => {
  test("of many mappings takes steps, between which others are served, and tells all that it unmapped", () => {
    const { program, fd, ioas } = setup();
    const memory = program.memory(4096);
    for (let i = 0n; i < 500n; i++) program.mapIoas(fd, ioas, memory, 4096n, { iova: i * 0x1000n });
    const size = uapi.IommuIoasUnmap.size;
    const bytes = uapi.IommuIoasUnmap.encode({ size, ioas_id: Number(ioas), iova: 0n, length: 2n ** 64n - 1n });
    const { address, outcome } = begin(program, fd, uapi.IOMMU_IOAS_UNMAP, bytes);
    const steps = outcome as RequestSteps;
    expect(steps.next().done).toBe(false);
    expect(program.mapIoas(fd, ioas, memory, 4096n, { iova: 0n })).toBe(0n);
    expect(program.mapIoas(fd, ioas, memory, 4096n, { iova: 499n * 0x1000n })).toBe("EEXIST");
    expect(finish(steps)).toBe(0);
    program.task.memory.copyIn(address, bytes, size);
    expect(uapi.IommuIoasUnmap.decode(bytes).length).toBe(501n * 0x1000n);
    expect(program.unmapIoas(fd, ioas, 0n, 0x1000n)).toBe("ENOENT");
  });

  test("of an address space that goes meanwhile ends", () => {
    const { program, fd, ioas } = setup();
    const memory = program.memory(4096);
    for (let i = 0n; i < 500n; i++) program.mapIoas(fd, ioas, memory, 4096n, { iova: i * 0x1000n });
    const size = uapi.IommuIoasUnmap.size;
    const bytes = uapi.IommuIoasUnmap.encode({ size, ioas_id: Number(ioas), iova: 0n, length: 2n ** 64n - 1n });
    const { outcome } = begin(program, fd, uapi.IOMMU_IOAS_UNMAP, bytes);
    expect(program.destroy(fd, ioas)).toBe(0);
    expect(finish(outcome)).toBe(0);
  });
});

test("a mapping goes where the first room is, whatever was mapped, unmapped and allowed before", () => {
  const PAGE = 0x1000n;
  const step = fc.record({ map: fc.boolean(), pages: fc.bigInt({ min: 1n, max: 4n }), which: fc.nat() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: "max" }), fc.boolean(), (steps, isAllowed) => {
      const { program, fd, ioas } = setup();
      const memory = program.task.memory.mmap({ length: 0x8000, protection: PROT_READ | PROT_WRITE, align: 0x8000 });
      const windows: [bigint, bigint][] = isAllowed
        ? [
            [2n, 9n],
            [10n, 11n],
            [20n, 400n],
          ]
        : [[1n, 400n]];
      if (isAllowed) {
        const ranges = windows.map(([first, last]) => [first * PAGE, (last + 1n) * PAGE - 1n] as const);
        expect(program.ioctlBytes(fd, uapi.IOMMU_IOAS_ALLOW_IOVAS, allowRequest(program, ioas, ranges))).toBe(0);
      }
      const joined: [bigint, bigint][] = isAllowed
        ? [
            [2n, 11n],
            [20n, 400n],
          ]
        : windows;
      const held: [bigint, bigint][] = [];
      for (const { map, pages, which } of steps) {
        if (!map && held.length > 0) {
          const [first, count] = held.splice(which % held.length, 1)[0]!;
          expect(program.unmapIoas(fd, ioas, first * PAGE, count * PAGE)).toBe(count * PAGE);
          continue;
        }
        const alignment = pages === 3n ? 4n : pages;
        const fits = (at: bigint) =>
          at % alignment === 0n &&
          joined.some(([first, last]) => at >= first && at + pages - 1n <= last) &&
          held.every(([first, count]) => at >= first + count || at + pages <= first);
        let expected = 0n;
        while (!fits(expected)) expected++;
        expect(program.mapIoas(fd, ioas, memory, pages * PAGE)).toBe(expected * PAGE);
        held.push([expected, pages]);
      }
    }),
    { numRuns: 60 },
  );
});
