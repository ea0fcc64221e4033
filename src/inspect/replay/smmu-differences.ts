import type { HostDescription } from "../../machine/host-description.ts";
import { viewOf } from "../../uapi/layout.ts";
import type { Rule } from "./difference-rule.ts";
import type { Operation } from "./operation.ts";
import { fromHex } from "./outcome.ts";

/**
 * Where the model of an Arm SMMU does otherwise than QEMU's, which was recorded, or than the kernel (FINDINGS of the
 * recordings).
 */
export function smmuRules(host: HostDescription, operations: Iterable<Operation>): Rule[] {
  if (!host.iommu.smmu) return [];
  return [tableFaultRule(operations), readOnlyTableRule(), privilegedPageRule(), leakedSlotRule()];
}

const HEADER = 8;
const RECORD = 32;
/** Word 1 of an event record: the class, 1 for a translation table that was being walked. */
const CLASS_AT = 40n;
const TABLE_CLASS = 1n;

/**
 * A stage-2 fault of a stage-1 walk has no S2 bit in QEMU's record, so that the kernel takes it for one of stage 1 and
 * forwards it; hardware's is not forwarded. What is read from the queue of the guest's events then differs from there
 * on.
 */
function tableFaultRule(operations: Iterable<Operation>): Rule {
  /** Lines of the recording. */
  const explained = new Set<number>();
  let polls: number[] = [];
  let seen = false;
  let line = 0;
  for (const operation of operations) {
    line++;
    if (operation.op === "pollfd") polls.push(line);
    if (operation.op !== "read") continue;
    seen ||= hasTableFault(operation.data ?? "");
    if (seen) for (const one of [...polls, line]) explained.add(one);
    polls = [];
  }
  return {
    reason:
      "QEMU's SMMUv3 leaves the S2 bit out of faults that stage 2 has on a stage-1 table, and the kernel forwards them; the model's are not",
    explains: (_operation, _difference, _said, line) => explained.has(line),
  };
}

function hasTableFault(data: string): boolean {
  const view = viewOf(fromHex(data));
  for (let at = HEADER; at + RECORD <= view.byteLength; at += HEADER + RECORD)
    if (((view.getBigUint64(at + 8, true) >> CLASS_AT) & 3n) === TABLE_CLASS) return true;
  return false;
}

/** Operations that show what a device reached, and what events came of it. */
const SHOWING: ReadonlySet<Operation["op"]> = new Set(["dump", "read", "pollfd"]);

/** A word that a program writes into a table makes the rest of a recording another one. */
function writtenWordRule(reason: string, matters: (word: bigint) => boolean): Rule {
  let written = false;
  return {
    reason,
    explains(operation) {
      if (operation.op === "w64") written ||= matters(BigInt(operation.value));
      return written && SHOWING.has(operation.op);
    },
  };
}

const TABLE = 3n;
const APTABLE_READ_ONLY = 1n << 62n;

function readOnlyTableRule(): Rule {
  return writtenWordRule(
    "QEMU's SMMUv3 forgets a table's read-only bit (APTable) once it remembers a page; the model does not",
    (word) => (word & TABLE) === TABLE && (word & APTABLE_READ_ONLY) !== 0n,
  );
}

const PAGE_WITH_FLAG = 0x403n;
const UNPRIVILEGED = 1n << 6n;

function privilegedPageRule(): Rule {
  return writtenWordRule(
    "QEMU's SMMUv3 lets every request use pages that are for privileged ones (AP[1] is 0); the model refuses it",
    (word) => (word & PAGE_WITH_FLAG) === PAGE_WITH_FLAG && (word & UNPRIVILEGED) === 0n,
  );
}

/** A kernel that cannot map an interrupt's doorbell loses the slot of the interrupt controller that it had taken. */
function leakedSlotRule(): Rule {
  let isLeaked = false;
  let isMissing = false;
  return {
    reason:
      "a kernel loses the interrupt controller's slot when a device has MSI set up without being attached, and has none for it any more; the model keeps it",
    explains(operation, difference) {
      if (operation.op === "ioctl" && operation.req === "VFIO_DEVICE_SET_IRQS") {
        if (operation.errno === "ENOSPC") {
          if (difference) isMissing = isLeaked;
          else isLeaked = true;
        }
        return isMissing && operation.errno === "ENOSPC";
      }
      return isMissing && (operation.op === "evread" || operation.op === "pread");
    },
  };
}
