import { PASID_MAX } from "../../iommu/pasid-pool.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { viewOf } from "../../uapi/layout.ts";
import * as rfc from "../../uapi/rfc-2017.ts";
import { guestTable } from "./guest-table.ts";
import type { NestingContainer } from "./nesting-container.ts";
import { needModelInForce, needModelToBind, OpData } from "./op-data.ts";
import { opInvalidate } from "./op-invalidate.ts";
import { LEAST_ANSWER, opAnswer } from "./op-probe.ts";
import { copyBytes, copySized } from "./user-bytes.ts";

const { VfioIommuOperation: Operation } = rfc;

/** More than any structure with its vendor data has: what is copied is bounded whatever argsz says. */
const MAX_ARGSZ = Operation.size + 4096;

/** VFIO_IOMMU_OP (docs/iommu-op.md); undefined when it is another request. */
export function iommuOp(container: NestingContainer, task: Task, request: number, arg: Word): number | undefined {
  if (request !== rfc.VFIO_IOMMU_OP) return undefined;
  const { argsz, flags, op, reserved } = Operation.decode(copySized(task, arg, Operation.size, Operation.name));
  if (flags & ~rfc.VFIO_IOMMU_OP_FLAG_PROBE) fail("EINVAL", `unknown flags ${hex(flags)} (known: PROBE, 1)`);
  if (reserved !== 0) fail("EINVAL", "reserved must be 0");
  const room = argsz - Operation.size;
  if (flags & rfc.VFIO_IOMMU_OP_FLAG_PROBE) {
    if (op !== 0) fail("EINVAL", `with PROBE op must be 0, it is ${op}: the answer lists all operations`);
  } else if (op < 1 || op > rfc.VFIO_IOMMU_OP_INVALIDATE) {
    fail("EOPNOTSUPP", `operation ${op} is unknown; PROBE says which there are`);
  }
  if (argsz > MAX_ARGSZ) fail("E2BIG", `argsz ${argsz} is more than any operation has (${MAX_ARGSZ})`);
  if (flags & rfc.VFIO_IOMMU_OP_FLAG_PROBE) return probe(container, task, arg, room);
  const data = new OpData(copyBytes(task, arg, Operation.size, room));
  switch (op) {
    case rfc.VFIO_IOMMU_OP_BIND_PASID_TABLE:
      return bindPasidTable(container, data);
    case rfc.VFIO_IOMMU_OP_BIND_PASID:
      return bindPasid(container, task, data);
    case rfc.VFIO_IOMMU_OP_BIND_PAGE_TABLE:
      return bindPageTable(container, task, data);
    default:
      return opInvalidate(container, data);
  }
}

/** As much of the answer as there is room for; its `size` says how much there is. */
function probe(container: NestingContainer, task: Task, arg: Word, room: number): number {
  if (room < LEAST_ANSWER) fail("EINVAL", `argsz leaves ${room} bytes for the answer, ${LEAST_ANSWER} are needed`);
  const answer = opAnswer(container);
  task.memory.copyOut(wordAdd(arg, Operation.size), answer, Math.min(room, answer.length));
  return 0;
}

/**
 * Whether it is an unbind. A bind is refused where an unbind no longer is: when a device has joined that no IOMMU
 * serves.
 */
function needModelFor(container: NestingContainer, { model, flags }: { model: number; flags: number }): boolean {
  const undo = isUnbind(flags);
  if (undo) needModelInForce(container, model);
  else needModelToBind(container, model);
  return undo;
}

function isUnbind(flags: number): boolean {
  if (flags & ~rfc.IOMMU_BIND_FLAG_UNBIND) fail("EINVAL", `unknown flags ${hex(flags)} (known: UNBIND, 1)`);
  return (flags & rfc.IOMMU_BIND_FLAG_UNBIND) !== 0;
}

function bindPasidTable(container: NestingContainer, data: OpData): number {
  const bind = data.head(rfc.IommuPasidTableBind);
  const undo = needModelFor(container, bind);
  data.vendor(bind.length, [0]);
  if (undo) {
    container.unbindGuestTable();
    return 0;
  }
  if (bind.pasid_bits < 6 || bind.pasid_bits > 20)
    fail("EINVAL", `pasid_bits is ${bind.pasid_bits}; a table has 6 to 20`);
  if (bind.table & 0xfffn)
    fail("EINVAL", `the PASID directory's address ${hex(bind.table)} is not a multiple of 0x1000`);
  container.bindGuestTable({ directory: bind.table, bits: bind.pasid_bits });
  return 0;
}

function bindPasid(container: NestingContainer, task: Task, data: OpData): number {
  const { pasid, flags } = data.head(rfc.IommuPasidBind);
  data.vendor(0, [0]);
  if (isUnbind(flags)) return unbind(container, pasid);
  needModelToBind(container, rfc.IOMMU_MODEL_INTEL);
  needFree(container, pasid);
  container.bindProcess(pasid, task.memory);
  return 0;
}

function bindPageTable(container: NestingContainer, task: Task, data: OpData): number {
  const bind = data.head(rfc.IommuPageTableBind);
  const undo = needModelFor(container, bind);
  if (bind.reserved !== 0) fail("EINVAL", "reserved must be 0");
  const vendor = data.vendor(bind.length, [0, rfc.IntelPageTableData.size]);
  if (undo) return unbind(container, bind.pasid);
  const flags = vendor.length > 0 ? viewOf(vendor).getBigUint64(0, true) : 0n;
  const binding = guestTable(bind.table, bind.addr_width, flags);
  needFree(container, bind.pasid);
  container.bind(bind.pasid, binding, task.memory);
  return 0;
}

function unbind(container: NestingContainer, pasid: number): number {
  container.unbind(pasid);
  return 0;
}

/** PASIDs are the guest's own here, so that any will do that is not bound yet. EINVAL, EBUSY. */
function needFree(container: NestingContainer, pasid: number): void {
  if (pasid < 1 || pasid > PASID_MAX) fail("EINVAL", `${pasid} is no PASID (1-${PASID_MAX})`);
  if (container.hasGuestTable) fail("EBUSY", "the devices go by a PASID table of the guest's: enter the PASID there");
  if (container.isBound(pasid)) fail("EBUSY", `PASID ${pasid} is bound already; unbind it first`);
}
