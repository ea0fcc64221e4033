import { describe, expect, test } from "vitest";
import * as rfc from "../../../src/uapi/rfc-2017.ts";
import * as v1 from "../../../src/uapi/vsva-v1.ts";
import * as v7 from "../../../src/uapi/vsva-v7.ts";
import { NestingProgram, nestingHost } from "./nesting-program.ts";

const EDU_GROUP = 3;
/** Of a mediated device without IOMMU backing. */
const PLAIN_GROUP = 20;
const UNMAPPED = 0x1000;

type Api = "vsva-v1" | "vsva-v7" | "rfc-2017";
type Container = ReturnType<typeof container>;

/** A nesting container of a program, with what the proposals' requests need said once. */
function container(api: Api, group = EDU_GROUP) {
  const program = new NestingProgram(nestingHost(api));
  const { container: fd } = program.container(group, api === "rfc-2017" ? 3 : 6);
  const call = (request: number, bytes: Uint8Array) => program.ioctlBytes(fd, request, bytes);
  return {
    program,
    fd,
    call,
    atNowhere: (request: number) => program.ioctl(fd, request, UNMAPPED),
    pasid: (flags: number, min: number, max: number) =>
      api === "vsva-v7" ? program.pasidV7(fd, flags, min, max) : program.allocV1(fd, min, max),
    bind: (pasid: unknown, root = 0x10_0000n, change = {}) =>
      api === "vsva-v7"
        ? call(v7.VFIO_IOMMU_NESTING_OP, program.bindBytes(0, Number(pasid), root, change))
        : program.bindV1(fd, Number(pasid), root, change),
    op: (op: number, data: Uint8Array, change = {}) =>
      call(
        rfc.VFIO_IOMMU_OP,
        new Uint8Array([...rfc.VfioIommuOperation.encode({ argsz: 16 + data.length, op, ...change }), ...data]),
      ),
  };
}

const pageTable = (change = {}) =>
  rfc.IommuPageTableBind.encode({
    model: rfc.IOMMU_MODEL_INTEL,
    table: 0x10_0000n,
    pasid: 5,
    addr_width: 48,
    ...change,
  });

/** What docs/vsva.md and docs/iommu-op.md promise, provoked: docs/errors.md has the errnos from here. */
const ERRORS: readonly (readonly [Api, string, string, (c: Container) => unknown, number?])[] = [
  ["vsva-v1", "PASID_REQUEST", "EFAULT", (c) => c.atNowhere(v1.VFIO_IOMMU_PASID_REQUEST)],
  ["vsva-v1", "PASID_REQUEST", "EINVAL", (c) => c.pasid(1, 9, 8)],
  ["vsva-v1", "PASID_REQUEST", "ENOSPC", (c) => [c.pasid(1, 7, 7), c.pasid(1, 7, 7)].at(-1)],
  ["vsva-v1", "BIND", "EFAULT", (c) => c.atNowhere(v1.VFIO_IOMMU_BIND)],
  ["vsva-v1", "BIND", "EINVAL", (c) => c.bind(c.pasid(1, 1, 9), 0x10_0001n)],
  ["vsva-v1", "BIND", "EBUSY", (c) => bindTwice(c)],
  ["vsva-v1", "BIND", "ENODEV", (c) => c.bind(c.pasid(1, 1, 9)), PLAIN_GROUP],
  ["vsva-v1", "CACHE_INVALIDATE", "EFAULT", (c) => c.atNowhere(v1.VFIO_IOMMU_CACHE_INVALIDATE)],
  ["vsva-v1", "CACHE_INVALIDATE", "EINVAL", (c) => c.program.invalidateV1(c.fd, 0, 0)],
  ["vsva-v1", "PASID_REQUEST", "ENOTTY", (c) => onType1(c, v1.VFIO_IOMMU_PASID_REQUEST)],
  ["vsva-v1", "BIND", "ENOTTY", (c) => onType1(c, v1.VFIO_IOMMU_BIND)],
  ["vsva-v1", "CACHE_INVALIDATE", "ENOTTY", (c) => onType1(c, v1.VFIO_IOMMU_CACHE_INVALIDATE)],
  ["vsva-v7", "PASID_REQUEST", "ENOTTY", (c) => onType1(c, v7.VFIO_IOMMU_PASID_REQUEST)],
  ["vsva-v7", "NESTING_OP", "ENOTTY", (c) => onType1(c, v7.VFIO_IOMMU_NESTING_OP)],
  ["vsva-v7", "PASID_REQUEST", "EFAULT", (c) => c.atNowhere(v7.VFIO_IOMMU_PASID_REQUEST)],
  ["vsva-v7", "PASID_REQUEST", "EINVAL", (c) => c.pasid(3, 1, 9)],
  ["vsva-v7", "PASID_REQUEST", "ENOSPC", (c) => [c.pasid(1, 7, 7), c.pasid(1, 7, 7)].at(-1)],
  ["vsva-v7", "NESTING_OP", "EFAULT", (c) => c.atNowhere(v7.VFIO_IOMMU_NESTING_OP)],
  ["vsva-v7", "NESTING_OP", "EINVAL", (c) => c.call(v7.VFIO_IOMMU_NESTING_OP, c.program.bindBytes(9, 1, 0n))],
  ["vsva-v7", "NESTING_OP", "EBUSY", (c) => bindTwice(c)],
  ["vsva-v7", "NESTING_OP", "ENODEV", (c) => c.bind(c.pasid(1, 1, 9)), PLAIN_GROUP],
  ["rfc-2017", "OP", "EFAULT", (c) => c.atNowhere(rfc.VFIO_IOMMU_OP)],
  ["rfc-2017", "OP", "EINVAL", (c) => c.op(rfc.VFIO_IOMMU_OP_BIND_PAGE_TABLE, pageTable({ reserved: 1 }))],
  ["rfc-2017", "OP", "E2BIG", (c) => c.op(rfc.VFIO_IOMMU_OP_BIND_PAGE_TABLE, pageTable(), { argsz: 0x10000 })],
  ["rfc-2017", "OP", "EOPNOTSUPP", (c) => c.op(99, pageTable())],
];

/** The same on a container of another type. */
function onType1({ program }: Container, request: number): unknown {
  return program.ioctl(program.container(4).container, request, UNMAPPED);
}

function bindTwice(c: Container): unknown {
  const pasid = c.pasid(1, 1, 9);
  c.program.guest(c.fd);
  return [c.bind(pasid), c.bind(pasid)].at(-1);
}

describe("a request of a proposal", () => {
  const cases = ERRORS.map(([api, request, errno, make, group = EDU_GROUP]) => ({ api, request, errno, make, group }));

  test.each(cases)("$api: VFIO_IOMMU_$request answers $errno", ({ api, errno, make, group }) => {
    expect(make(container(api, group))).toBe(errno);
  });
});
