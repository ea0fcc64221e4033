import { describe, expect, test } from "vitest";
import { ModelTask } from "../../src/kernel/model-task.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import * as uapi from "../../src/uapi/iommufd.ts";
import type { Layout } from "../../src/uapi/layout.ts";
import { IommufdProgram } from "./iommufd-program.ts";

/** No kernel that was recorded had it on s390, but CONFIG_IOMMUFD can be set there. */
const HOST = { ...readyMadeHost("s390")!, kernel: "7.2", iommufd: true };
const VADDR_BYTES = 0x4000;

describe.each([true, false])("iommufd answers in the caller's byte order, little-endian: %s", (littleEndian) => {
  const program = new IommufdProgram(HOST, { littleEndian });
  const fd = program.iommufd();
  const ask = <F extends ConstructorParameters<typeof Layout>[1]>(
    request: number,
    layout: Layout<F>,
    value: object,
  ) => {
    const bytes = layout.encode({ size: layout.size, ...value } as never, 0, littleEndian);
    const result = program.ioctlBytes(fd, request, bytes);
    return { result, ...layout.decode(bytes, littleEndian) };
  };
  const ioas = ask(uapi.IOMMU_IOAS_ALLOC, uapi.IommuIoasAlloc, {});

  test("maps and unmaps", () => {
    expect(ioas).toMatchObject({ result: 0, out_ioas_id: 1 });
    const map = {
      ioas_id: 1,
      flags: uapi.IOMMU_IOAS_MAP_FIXED_IOVA | uapi.IOMMU_IOAS_MAP_READABLE,
      user_va: BigInt(program.memory(VADDR_BYTES)),
      length: BigInt(VADDR_BYTES),
      iova: 0x1_2345_6000n,
    };
    expect(ask(uapi.IOMMU_IOAS_MAP, uapi.IommuIoasMap, map)).toMatchObject({ result: 0, iova: map.iova });
    expect(ask(uapi.IOMMU_IOAS_MAP, uapi.IommuIoasMap, map).result).toBe("EEXIST");
    const unmap = { ioas_id: 1, iova: map.iova, length: map.length };
    expect(ask(uapi.IOMMU_IOAS_UNMAP, uapi.IommuIoasUnmap, unmap)).toMatchObject({ result: 0, length: map.length });
  });

  test("takes and gives lists of ranges", () => {
    const list = program.memory(4096);
    const range = { start: 0x1_0000_0000n, last: 0x1_7fff_ffffn };
    program.task.memory.copyOut(list, uapi.IommuIovaRange.encode(range, 0, littleEndian), uapi.IommuIovaRange.size);
    const request = { ioas_id: 1, num_iovas: 1, allowed_iovas: BigInt(list) };
    expect(ask(uapi.IOMMU_IOAS_ALLOW_IOVAS, uapi.IommuIoasAllowIovas, request).result).toBe(0);
    const map = {
      ioas_id: 1,
      flags: uapi.IOMMU_IOAS_MAP_READABLE,
      user_va: BigInt(program.memory(VADDR_BYTES)),
      length: BigInt(VADDR_BYTES),
    };
    const { result, iova } = ask(uapi.IOMMU_IOAS_MAP, uapi.IommuIoasMap, map);
    expect(result).toBe(0);
    expect(iova >= range.start && iova <= range.last, `chosen ${iova.toString(16)}`).toBe(true);
    const answer = ask(uapi.IOMMU_IOAS_IOVA_RANGES, uapi.IommuIoasIovaRanges, request);
    expect(answer).toMatchObject({ result: 0, num_iovas: 1 });
    const bytes = new Uint8Array(uapi.IommuIovaRange.size);
    program.task.memory.copyIn(list, bytes, bytes.length);
    expect(uapi.IommuIovaRange.decode(bytes, littleEndian)).toEqual({ start: 0n, last: 2n ** 64n - 1n });
  });
});

test("a forked process has its parent's byte order", () => {
  expect(new ModelTask({ littleEndian: false }).fork().memory.littleEndian).toBe(false);
});
