import { PAGE_SIZE, pageFromHalves } from "../../address/pages.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { VfioIommuSpaprRegisterMemory } from "../../uapi/vfio-spapr.ts";
import { UserStruct } from "../user-struct.ts";
import type { TceContainer } from "./tce-container.ts";

const SIZE = VfioIommuSpaprRegisterMemory.size;
const AT = VfioIommuSpaprRegisterMemory.offsets;

const user = new UserStruct(SIZE);

/** The memory that a request names: whole pages of the kernel, counted in 4 KiB. */
export interface UserRange {
  readonly startPage: number;
  readonly pages: number;
  /** Whether it ends at or behind 2^64. */
  readonly wraps: boolean;
  /** For messages. */
  readonly label: string;
}

/** The argument of REGISTER_MEMORY and UNREGISTER_MEMORY. EFAULT, EINVAL. */
export function readRange(container: TceContainer, task: Task, arg: Word): UserRange {
  user.copyInSized(task, arg, SIZE, "vfio_iommu_spapr_register_memory");
  const flags = user.u32(AT.flags);
  if (flags !== 0) fail("EINVAL", `flags are ${hex(flags)}, must be 0`);
  const vaddr = user.u64(AT.vaddr);
  const size = user.u64(AT.size);
  const { pageSize } = container.context;
  if ((user.low(AT.vaddr) | user.low(AT.size)) & (pageSize - 1)) {
    fail(
      "EINVAL",
      `vaddr ${hex(vaddr)} and size ${hex(size)} must be multiples of the host kernel's page, ${hex(pageSize)}${pageSize > PAGE_SIZE ? " (a host with page_size: 4096 takes smaller ones)" : ""}`,
    );
  }
  return {
    startPage: pageFromHalves(user.low(AT.vaddr), user.high(AT.vaddr)),
    pages: pageFromHalves(user.low(AT.size), user.high(AT.size)),
    wraps: vaddr + size >= 2n ** 64n,
    label: `memory at ${hex(vaddr)} of ${hex(size)} bytes`,
  };
}
