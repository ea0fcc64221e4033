import { fail, KernelError } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import {
  IOMMU_PGFAULT_FLAGS_LAST_PAGE,
  IOMMU_PGFAULT_FLAGS_PASID_VALID,
  IommuHwptPageResponse,
  IommuHwptPgfault,
} from "../../uapi/iommufd-viommu.ts";
import type { FaultQueue, PageRequest } from "./fault-queue.ts";
import { QueueFile } from "./queue-file.ts";

/**
 * IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID of include/linux/iommu.h, which drivers set that answer with a PASID
 * (intel/prq.c:intel_prq_report). The flags of the kernel's own structure go out as they are, though the interface does
 * not name this one.
 */
const RESPONSE_NEEDS_PASID = 1 << 2;

/**
 * The descriptor of a fault queue: requests are read from it, responses written to it. It keeps the queue, and its
 * iommufd.
 */
export class FaultQueueFile extends QueueFile<FaultQueue> {
  protected override readonly takesWrites = true;

  /** eventq.c:iommufd_fault_fops_read. Whole requests, as many as there is room for; 0 when nothing waits. */
  override read(task: Task, address: Word, count: number, offset: Word): number {
    refuseParts(count, IommuHwptPgfault.size, offset, "requests are read");
    const queue = this.queue;
    let done = 0;
    for (let request = queue.next; request && done < count; request = queue.next) {
      const cookie = queue.freeCookie;
      try {
        const bytes = message(request, cookie, task.memory.littleEndian);
        task.memory.copyOut(wordAdd(address, done), bytes, bytes.length);
      } catch (error) {
        return partOr(done, error);
      }
      queue.take(cookie);
      done += IommuHwptPgfault.size;
    }
    return done;
  }

  /** eventq.c:iommufd_fault_fops_write. Those before a bad one count. */
  override write(task: Task, address: Word, count: number, offset: Word): number {
    refuseParts(count, IommuHwptPageResponse.size, offset, "responses are written");
    const bytes = new Uint8Array(IommuHwptPageResponse.size);
    for (let done = 0; done < count; done += bytes.length) {
      try {
        task.memory.copyIn(wordAdd(address, done), bytes, bytes.length);
        const { cookie, code } = IommuHwptPageResponse.decode(bytes, task.memory.littleEndian);
        this.queue.respond(cookie, code);
      } catch (error) {
        return partOr(done, error);
      }
    }
    return count;
  }
}

function refuseParts(count: number, size: number, offset: Word, what: string): void {
  if (offset) fail("ESPIPE", `${what} without an offset`);
  if (count % size !== 0) fail("ESPIPE", `${what} whole, ${size} bytes each, not ${count}`);
}

/** What was done before an error, or the error when that is nothing. */
function partOr(done: number, error: unknown): number {
  if (done > 0 && error instanceof KernelError) return done;
  throw error;
}

/** eventq.c:iommufd_compose_fault_message */
function message(
  { deviceId, pasid, responseNeedsPasid, group, permissions, address }: PageRequest,
  cookie: number,
  littleEndian: boolean,
): Uint8Array {
  const needed = responseNeedsPasid ? RESPONSE_NEEDS_PASID : 0;
  const withPasid = pasid === undefined ? 0 : IOMMU_PGFAULT_FLAGS_PASID_VALID | needed;
  const fields = {
    flags: withPasid | IOMMU_PGFAULT_FLAGS_LAST_PAGE,
    dev_id: deviceId,
    pasid: pasid ?? 0,
    grpid: group,
    perm: permissions,
    addr: address,
    length: 0,
    cookie,
  };
  return IommuHwptPgfault.encode(fields, 0, littleEndian);
}
