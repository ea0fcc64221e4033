import { describe, expect, test } from "vitest";
import { parseFault } from "../../../src/inspect/fault/fault-spec.ts";
import { FaultInjector } from "../../../src/inspect/fault/injector.ts";
import { parseOperations } from "../../../src/inspect/replay/recorded-calls.ts";
import { surveyOf } from "../../../src/inspect/replay/recording-facts.ts";
import { replay } from "../../../src/inspect/replay/replay.ts";
import { PLAIN, TracePrinter } from "../../../src/inspect/trace/print.ts";
import { Recorder } from "../../../src/inspect/trace/recorder.ts";
import { watchKernel } from "../../../src/inspect/watch/watch-kernel.ts";
import { encodeDescriptor } from "../../../src/uapi/intel-invalidation.ts";
import * as rfc from "../../../src/uapi/rfc-2017.ts";
import * as v7 from "../../../src/uapi/vsva-v7.ts";
import { NestingProgram, nestingHost } from "../../vfio/nesting/nesting-program.ts";
import type { Result } from "../../vfio/program.ts";

/** Makes calls on a nesting container; returns what a reader of the trace, who has no host, sees of the proposal's requests. */
function traced(api: string, kernel: string, run: (program: NestingProgram, container: Result) => void) {
  const lines: string[] = [];
  const write = (line: object) => lines.push(JSON.stringify(line));
  const recorder = new Recorder({ pageSize: 4096, encoding: "plain", write });
  const host = nestingHost(api, kernel);
  watchKernel(host, [recorder]);
  const program = new NestingProgram(host);
  run(program, program.container(3, api === "rfc-2017" ? 3 : 6).container);
  program.task.exit();
  recorder.end();
  const operations = parseOperations(lines.join("\n"), "trace");
  const { different, calls } = replay(host.description, operations);
  expect(different).toEqual([]);
  expect(calls).toBeGreaterThan(5);
  const printer = new TracePrinter(PLAIN, surveyOf(operations));
  const printed = operations.flatMap((operation) => printer.line(operation) ?? []);
  return printed.map((line) => line.replace(/^.*?, VFIO_IOMMU_/, "").replace(/ <[\d.]+>$/, ""));
}

function inner(program: NestingProgram, cache: number, granularity: number, words: readonly bigint[]): Uint8Array {
  return program.cacheBytes(cache, granularity, new Uint8Array(new BigUint64Array(words).buffer));
}

describe("a trace has the requests of", () => {
  test.each([["6.12"], ["5.9"]])("vsva-v1 on Linux %s, decoded, and repeats", (kernel) => {
    const argsz = (bytes: number) => (kernel === "6.12" ? `argsz=${bytes}, ` : "");
    const lines = traced("vsva-v1", kernel, (program, container) => {
      const guest = program.guest(container);
      const pasid = program.allocV1(container, 5, 9);
      program.bindV1(container, pasid, guest.root);
      const member = new Uint8Array(new BigUint64Array([1n, BigInt(pasid), 0x4000n, 0x1000n, 2n]).buffer);
      program.invalidateV1(container, 1, 2, member);
      program.unbindV1(container, pasid);
      program.freeV1(container, pasid);
    });
    const order =
      kernel === "6.12"
        ? "format=INTEL_VTD, addr_width=48, flags=0, gpgd=0x100000, hpasid=0x5, gpasid=0x0, vendor={vtd={flags=0, pat=0x0, emt=0x0}}"
        : "format=INTEL_VTD, flags=0, gpgd=0x100000, hpasid=0x5, gpasid=0x0, addr_width=48, vtd={flags=0, pat=0x0, emt=0x0}";
    const info = "addr_info={flags=PASID, archid=0x0, pasid=0x5, addr=0x4000, granule_size=0x1000, nb_granules=0x2}";
    expect(lines).toContain(
      "PASID_REQUEST, {argsz=20, flags=ALLOC, min=0x5, max=0x9, result=0x0} => {result=0x5}) = 0",
    );
    expect(lines).toContainEqual(
      expect.stringContaining(`flags=BIND_GUEST_PGTBL, data={${argsz(72)}version=1, ${order}}}) = 0`),
    );
    expect(lines).toContainEqual(
      expect.stringContaining(
        `cache_info={${argsz(56)}version=1, cache=IOTLB, granularity=ADDR, ${kernel === "6.12" ? `granu={${info}}` : info}}}) = 0`,
      ),
    );
    expect(lines).toContain("PASID_REQUEST, {argsz=20, flags=FREE, free_pasid=0x5}) = 0");
  });

  test("vsva-v7, whose numbers are sPAPR's too, and repeats", () => {
    const lines = traced("vsva-v7", "6.12", (program, container) => {
      const guest = program.guest(container);
      program.info(container);
      const pasid = program.pasidV7(container, 1, 5, 9);
      const op = (bytes: Uint8Array) => program.ioctlBytes(container, v7.VFIO_IOMMU_NESTING_OP, bytes);
      op(program.bindBytes(0, pasid, guest.root));
      const invalidate = inner(program, 3, 1, [1n, BigInt(pasid)]);
      new DataView(invalidate.buffer).setUint32(4, 2, true);
      op(invalidate);
      op(program.bindBytes(1, pasid, guest.root));
      program.pasidV7(container, 2, 5, 9);
    });
    expect(lines).toContain("PASID_REQUEST, {argsz=16, flags=ALLOC_PASID, range={min=0x5, max=0x9}}) = 5");
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^NESTING_OP, \{argsz=\d+, flags=BIND_PGTBL, data=\{argsz=\d+, .*gpgd=0x100000, hpasid=0x5,.*\}\) = 0$/,
      ),
    );
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^NESTING_OP, .*flags=CACHE_INVLD, data=\{.*cache=IOTLB\|DEV_IOTLB, granularity=PASID, granu=\{pasid_info=\{flags=PASID, archid=0x0, pasid=0x5\}\}\}\}\) = 0$/,
      ),
    );
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^GET_INFO, .*NESTING \{info=\{argsz=\d+, .*features=SYSWIDE_PASID\|BIND_PGTBL\|CACHE_INVLD/,
      ),
    );
    expect(lines.join("\n")).not.toContain("SPAPR");
  });

  test("rfc-2017 with each operation's own structure, and repeats", () => {
    const lines = traced("rfc-2017", "6.12", (program, container) => {
      const guest = program.guest(container);
      const op = (number: number, data: Uint8Array, flags = 0) =>
        program.ioctlBytes(
          container,
          rfc.VFIO_IOMMU_OP,
          new Uint8Array([...rfc.VfioIommuOperation.encode({ argsz: 16 + data.length, op: number, flags }), ...data]),
        );
      op(0, new Uint8Array(16), rfc.VFIO_IOMMU_OP_FLAG_PROBE);
      op(
        rfc.VFIO_IOMMU_OP_BIND_PAGE_TABLE,
        rfc.IommuPageTableBind.encode({ model: 1, table: guest.root, pasid: 5, addr_width: 48 }),
      );
      op(
        rfc.VFIO_IOMMU_OP_INVALIDATE,
        rfc.IommuTlbInvalidate.encode({ model: 1, scope: 3, flags: 2, pasid: 5, vaddr: 0x4000n, size: 0x1000n }),
      );
      const descriptor = rfc.IntelIommuInvalidateData.encode(encodeDescriptor("iotlb", { granularity: 2 }));
      const request = rfc.IommuTlbInvalidate.encode({ model: 1, flags: 4, length: descriptor.length });
      op(rfc.VFIO_IOMMU_OP_INVALIDATE, new Uint8Array([...request, ...descriptor]));
    });
    expect(lines).toContainEqual(
      expect.stringMatching(/^OP, \{argsz=32, flags=PROBE, op=0, data=\{.*\}\} => \{data=\{.*pasid_bits=20\}\}\) = 0$/),
    );
    expect(lines).toContainEqual(
      expect.stringMatching(
        /op=BIND_PAGE_TABLE, data=\{model=INTEL, flags=0, table=0x100000, pasid=0x5, addr_width=48,/,
      ),
    );
    expect(lines).toContainEqual(
      expect.stringMatching(
        /op=INVALIDATE, data=\{model=INTEL, scope=PASID\|VADDR, flags=VADDR_LEAF, pasid=0x5, vaddr=0x4000, size=4096|size=0x1000/,
      ),
    );
    expect(lines).toContainEqual(expect.stringMatching(/data=iotlb granularity 0x2 /));
  });
});

test("--fault knows the requests of proposals on the containers that speak them, by their name", () => {
  const injector = new FaultInjector([
    parseFault("VFIO_IOMMU_PASID_REQUEST#1=ENOMEM"),
    parseFault("VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY=EIO"),
  ]);
  for (const api of ["vsva-v1", "vsva-v7"]) {
    const host = nestingHost(api);
    watchKernel(host, [injector]);
    const program = new NestingProgram(host);
    const { container } = program.container(3, 6);
    if (api === "vsva-v1") expect(program.allocV1(container)).toBe("ENOMEM");
    else expect(program.pasidV7(container, 1, 1, 9)).toBe(1);
  }
  expect(injector.faults.map(({ matched, injected }) => [matched, injected])).toEqual([
    [2, 1],
    [0, 0],
  ]);
});
