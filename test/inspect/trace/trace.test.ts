import { describe, expect, test } from "vitest";
import { Host } from "../../../src/host/host.ts";
import type { Operation } from "../../../src/inspect/replay/operation.ts";
import { parseOperations } from "../../../src/inspect/replay/recorded-calls.ts";
import { surveyOf } from "../../../src/inspect/replay/recording-facts.ts";
import { replay } from "../../../src/inspect/replay/replay.ts";
import { PLAIN, TracePrinter } from "../../../src/inspect/trace/print.ts";
import { Recorder } from "../../../src/inspect/trace/recorder.ts";
import { summarize, summaryLines } from "../../../src/inspect/trace/summary.ts";
import { watchKernel } from "../../../src/inspect/watch/watch-kernel.ts";
import { isLittleEndian } from "../../../src/kernel/arch.ts";
import { lab } from "../../../src/machine/hosts/lab.ts";
import { IOMMU_IOAS_ALLOC } from "../../../src/uapi/iommufd.ts";
import { readBundle } from "../../recordings/bundle.ts";
import { Program } from "../../vfio/program.ts";

const EDU = { group: 3, name: "0000:03:00.0", bar: 0 };

/** Runs a program on a traced lab host; returns the trace. */
function traced(run: (program: Program) => void) {
  const lines: string[] = [];
  const recorder = new Recorder({
    pageSize: 4096,
    encoding: "plain",
    write: (line) => lines.push(JSON.stringify(line)),
  });
  const host = new Host(lab, { watch: recorder.model, onWarning: (message) => recorder.note(message) });
  watchKernel(host, [recorder], (message) => {
    throw new Error(message);
  });
  const program = new Program(host, { name: "prog" });
  run(program);
  program.task.exit();
  recorder.end();
  return parseOperations(lines.join("\n"), "trace");
}

function printed(operations: ReturnType<typeof traced>, filter = {}) {
  const printer = new TracePrinter(PLAIN, surveyOf(operations));
  const withoutTimes = operations.map((operation): Operation => {
    if (operation.op === "wait") return operation;
    const { us: _us, ...rest } = operation;
    return rest as Operation;
  });
  return withoutTimes.flatMap((operation) => printer.line(operation, filter) ?? []);
}

/** Copies 64 bytes from `from` to `to` by the edu's DMA. */
function copy(program: Program, device: number, from: bigint, to: bigint): void {
  const buffer = 0x40000n;
  for (const [source, destination, command] of [
    [from, buffer, 1n],
    [buffer, to, 3n],
  ] as const) {
    for (const [at, value] of [
      [0x80, source],
      [0x88, destination],
      [0x90, 64n],
      [0x98, command],
    ] as const) {
      const bytes = new Uint8Array(new BigUint64Array([value]).buffer);
      const address = program.memory(4096);
      program.task.memory.copyOut(address, bytes, 8);
      program.task.files.get(device)!.write(program.task, address, 8, at);
    }
  }
}

function openEdu(program: Program): { container: number; device: number } {
  const { container, group } = program.container(EDU.group);
  const device = Number(program.deviceFd(group, EDU.name));
  const address = program.memory(4096);
  program.task.memory.copyOut(address, new Uint8Array([6, 0]), 2);
  program.task.files.get(device)!.write(program.task, address, 2, 0x7_00_0000_0000 + 4);
  return { container: Number(container), device };
}

describe("a trace", () => {
  const operations = traced((program) => {
    const { container, device } = openEdu(program);
    const memory = program.memory(0x2000);
    program.task.memory.copyOut(memory + 16, new Uint8Array(64).fill(0x5a), 64);
    expect(program.map(container, 0x10000n, memory, 0x2000n)).toBe(0);
    expect(program.map(container, 0x11000n, memory, 0x1000n)).toBe("EEXIST");
    expect(program.map(container, 0x40000n, 0x123000n, 0x1000n)).toBe("EFAULT");
    copy(program, device, 0x10010n, 0x11100n);
    copy(program, device, 0x90000n, 0x11100n);
    expect(program.unmap(container, 0x10000n, 0x2000n)).toBe(0x2000n);
  });

  test("has what was read and written by DMA, and repeats with equal answers", () => {
    expect(operations.find(({ op }) => op === "store")).toMatchObject({ off: 16, in: "5a".repeat(64) });
    const [first, second] = operations.filter(({ op }) => op === "dump");
    expect(first).toMatchObject({ off: 0x1100, data: "5a".repeat(64) });
    // what could not be read is zeros
    expect(second).toMatchObject({ off: 0x1100, data: "00".repeat(64) });
    const result = replay(lab, operations);
    expect(result.different).toEqual([]);
    expect(result.calls).toBeGreaterThan(15);
  });

  test("does not repeat where one byte of it was other", () => {
    const changed = operations.map((o) => (o.op === "store" ? { ...o, in: `00${o.in.slice(2)}` } : o));
    expect(replay(lab, changed).different[0]).toMatchObject({ field: "data" });
  });

  test("prints as strace would, with names, buffers and reasons", () => {
    const lines = printed(operations);
    expect(lines[0]).toBe('open("/dev/vfio/vfio", O_RDWR) = container1</dev/vfio/vfio>');
    const map = "ioctl(container1</dev/vfio/vfio>, VFIO_IOMMU_MAP_DMA, {argsz=32, flags=READ|WRITE";
    expect(lines).toContain(`${map}, vaddr=m1, iova=0x10000, size=0x2000}) = 0`);
    expect(lines.find((line) => line.includes("EEXIST"))).toMatch(
      /= -1 EEXIST \(iova 0x11000-0x11fff overlaps the mapping/,
    );
    expect(lines).toContainEqual(
      expect.stringMatching(/^pwrite\(\d+<0000:03:00\.0>, <06 00>, 2, 0x70000000004\) = 2$/),
    );
    expect(lines.filter((line) => line.startsWith("-- "))).toEqual([
      expect.stringMatching(
        /^-- 0000:03:00\.0: DMA read of 0x40 bytes at iova 0x90000 faults: nothing is mapped there/,
      ),
    ]);
    expect(lines).toContain(
      "ioctl(container1</dev/vfio/vfio>, VFIO_IOMMU_UNMAP_DMA, {argsz=24, flags=0, iova=0x10000, size=0x2000}) = 0",
    );
    expect(lines.join("\n")).not.toMatch(/undefined|\[object|NaN/);
  });

  test.each([
    [{ failed: true }, 2],
    [{ requests: ["map_dma"], failed: true }, 2],
    [{ requests: ["UNMAP"] }, 1],
    [{ fds: ["device1"], requests: ["pwrite"] }, 17],
    [{ fds: ["nosuch"] }, 0],
  ])("filtered by %j has %i lines", (filter, count) => {
    expect(printed(operations, filter)).toHaveLength(count);
  });

  test("sums up calls and errors by request", () => {
    const rows = summarize(operations);
    expect(rows.find(({ name }) => name === "VFIO_IOMMU_MAP_DMA")).toMatchObject({ calls: 3, errors: 2 });
    const lines = summaryLines(rows);
    expect(lines[0]).toMatch(/^request +calls +errors +seconds +us\/call$/);
    expect(lines.at(-1)).toMatch(/^total +\d+ +2 /);
  });

  test.each([1, 2, 3])("repeats when a structure goes away after it was read %i times", (times) => {
    const trace = traced((program) => {
      const { memory } = program.task;
      const iommufd = program.open("/dev/iommu");
      const address = program.memory(4096);
      memory.copyOut(address, new Uint8Array([12]), 1);
      const copyIn = memory.copyIn.bind(memory);
      let left = times;
      memory.copyIn = (from, into, length) => {
        copyIn(from, into, length);
        if (from === address && --left === 0) memory.munmap(address, 4096);
      };
      program.ioctl(iommufd, IOMMU_IOAS_ALLOC, address);
    });
    expect(trace.find(({ op }) => op === "ioctl")).toMatchObject({ ret: -1, errno: "EFAULT" });

    expect(replay(lab, trace).different).toEqual([]);
  });

  test("has the rights that the model asked for", () => {
    const limited = traced((program) => {
      program.task.setuid(0);
      program.task.capabilities.delete(14);
      program.task.memlock = 0x1000;
      const { container } = program.container(EDU.group);
      expect(program.map(container, 0x10000n, program.memory(0x2000), 0x2000n)).toBe("ENOMEM");
    });
    expect(limited.map(({ op }) => op)).toContain("dropcap");
    expect(limited.find(({ op }) => op === "setrlimit")).toMatchObject({ value: 0x1000 });
    expect(replay(lab, limited).different).toEqual([]);
  });
});

test("a file closes in the middle of a call that looks for another", () => {
  const trace = traced((program) => {
    const other = Number(program.open("/dev/vfio/vfio"));
    const container = program.open("/dev/vfio/vfio");
    const group = program.open("/dev/vfio/3");
    const { files } = program.task;
    const get = files.get.bind(files);
    files.get = (fd) => {
      if (fd === container && files.get(other)) files.close(other);
      return get(fd);
    };
    expect(program.setContainer(group, container)).toBe(0);
    expect(files.get(other)).toBeUndefined();
  });
  expect(trace.flatMap((o) => ("fd" in o && o.op !== "open" ? [`${o.op} ${o.fd}`] : [])).slice(0, 2)).toEqual([
    "close container1",
    "ioctl group1",
  ]);
  expect(replay(lab, trace).different).toEqual([]);
});

test("a program that is not root lowers its limit and raises it again", () => {
  const trace = traced((program) => {
    const { container } = program.container(EDU.group);
    program.task.setuid(1000);
    for (const [memlock, iova, result] of [
      [0x1000, 0x10000n, "ENOMEM"],
      [0x10000, 0x20000n, 0],
    ] as const) {
      program.task.memlock = memlock;
      program.open("/dev/vfio/devices/vfio0");
      expect(program.map(container, iova, program.memory(0x2000), 0x2000n)).toBe(result);
    }
  });
  expect(trace.map(({ op }) => op)).toContain("setuid");
  expect(replay(lab, trace).different).toEqual([]);
});

describe("a recording of a big-endian machine", () => {
  const { host, scenarios } = readBundle("s390x");
  const linesOf = (name: string) => {
    const operations = scenarios.find((scenario) => scenario.name === name)!.operations();
    const printer = new TracePrinter(PLAIN, { ...surveyOf(operations), littleEndian: isLittleEndian(host.arch) });
    return operations.flatMap((operation) => printer.line(operation) ?? []);
  };

  test("prints fields in its byte order", () => {
    expect(linesOf("map_aperture_v2").join("\n")).toContain("{argsz=32, flags=READ|WRITE, vaddr=m, iova=0x");
    expect(linesOf("d_info_C").join("\n")).toMatch(/caps=\[ZPCI_BASE \{start_dma=0x100000000, end_dma=0x17fffffff, /);
  });
});
