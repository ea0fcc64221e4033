import type { VtdUnit } from "../../../src/iommu/vtd/unit.ts";
import type { Descriptor } from "../../../src/uapi/intel-invalidation.ts";
import * as rfc from "../../../src/uapi/rfc-2017.ts";
import { StructView } from "../../../src/uapi/struct-view.ts";
import type { Container } from "../../../src/vfio/container.ts";
import type { NestingBackend } from "../../../src/vfio/nesting/nesting-backend.ts";
import type { NestingContainer } from "../../../src/vfio/nesting/nesting-container.ts";
import type { Result } from "../program.ts";
import { type Guest, NestingProgram, nestingHost } from "./nesting-program.ts";

/** Source-ids of EDU, OTHER_EDU and the parent of the mediated devices. */
export const EDU_SOURCE = 0x300;
export const OTHER_SOURCE = 0x400;
export const PARENT_SOURCE = 0x500;

/** A container with a group and a guest, on a host that has the operation. */
export function setUp(group = 3): { program: NestingProgram; container: Result; guest: Guest } {
  const program = new NestingProgram(nestingHost("rfc-2017"));
  const { container } = program.container(group, 3);
  return { program, container, guest: program.guest(container) };
}

/** VFIO_IOMMU_OP with the data of an operation. */
export function op(
  program: NestingProgram,
  container: Result,
  number: number,
  data: Uint8Array,
  change: { argsz?: number; flags?: number; reserved?: number } = {},
): Result {
  const head = rfc.VfioIommuOperation.encode({ argsz: 16 + data.length, op: number, ...change });
  return program.ioctlBytes(container, rfc.VFIO_IOMMU_OP, new Uint8Array([...head, ...data]));
}

export function bindTable(
  program: NestingProgram,
  container: Result,
  pasid: number,
  table: bigint,
  change: Record<string, unknown> = {},
): Result {
  const bind = { model: 1, table, pasid, addr_width: 48, ...change };
  return op(program, container, 3, rfc.IommuPageTableBind.encode(bind));
}

export function bindPasidTable(
  program: NestingProgram,
  container: Result,
  table: bigint,
  change: Record<string, unknown> = {},
): Result {
  const bind = { model: 1, table, pasid_bits: 10, ...change };
  return op(program, container, 1, rfc.IommuPasidTableBind.encode(bind));
}

export function bindProcess(program: NestingProgram, container: Result, pasid: number, flags = 0): Result {
  return op(program, container, 2, rfc.IommuPasidBind.encode({ pasid, flags }));
}

export function invalidate(
  program: NestingProgram,
  container: Result,
  facts: Record<string, unknown>,
  vendor: Uint8Array = new Uint8Array(0),
): Result {
  const fixed = rfc.IommuTlbInvalidate.encode({ model: 1, length: vendor.length, ...facts });
  return op(program, container, 4, new Uint8Array([...fixed, ...vendor]));
}

export function descriptors(program: NestingProgram, container: Result, ...values: Descriptor[]): Result {
  const vendor = values.flatMap((value) => [...rfc.IntelIommuInvalidateData.encode(value)]);
  return invalidate(program, container, { flags: rfc.IOMMU_INVALIDATE_VENDOR }, new Uint8Array(vendor));
}

/** PROBE with `room` bytes for the answer: the bytes, which were 0xaa before, or the errno. */
export function probe(program: NestingProgram, container: Result, room: number): Uint8Array | Result {
  const head = rfc.VfioIommuOperation.encode({ argsz: 16 + room, flags: 1 });
  const bytes = new Uint8Array([...head, ...new Uint8Array(room + 8).fill(0xaa)]);
  const result = program.ioctlBytes(container, rfc.VFIO_IOMMU_OP, bytes);
  return result === 0 ? bytes.subarray(16) : result;
}

/** An answer of PROBE taken apart by its own offsets and sizes. */
export function decodeAnswer(bytes: Uint8Array) {
  const view = new StructView(bytes, true);
  const head = rfc.VfioIommuOpProbe.decode(bytes);
  const models = [];
  let at = head.model_offset;
  for (let i = 0; i < head.model_count; i++) {
    const model = rfc.VfioIommuOpModel.read(view, at);
    models.push({ ...model, vendor: rfc.IntelIommuOpSupport.read(view, at + rfc.VfioIommuOpModel.size) });
    at += model.size;
  }
  const devices = Array.from({ length: head.device_count }, (_, i) =>
    rfc.VfioIommuOpDevice.read(view, head.device_offset + i * head.device_size),
  );
  return { head, models, devices };
}

/** The IOMMU of the first device of a container. */
export function unitOf(program: NestingProgram, container: Result): VtdUnit {
  const { hardware, requesters } = nestingOf(program, container);
  return hardware.iommus.unitOf(requesters[0]!.identity) as VtdUnit;
}

export function nestingOf(program: NestingProgram, container: Result): NestingContainer {
  const { backend } = program.task.files.get(Number(container)) as Container;
  return (backend as NestingBackend).container;
}
