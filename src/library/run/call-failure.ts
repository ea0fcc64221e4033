import type { FinishedCall } from "../../interpose/index.ts";
import { errnoName } from "../../uapi/errno.ts";

/** A call of a program that failed. */
export interface CallFailure {
  /** Short name of the program that called. */
  readonly program: string;
  /** Its process. */
  readonly pid: number;
  /** Its thread. */
  readonly tid: number;
  /** "VFIO_IOMMU_MAP_DMA", "open /dev/vfio/12", "mmap(7)". */
  readonly call: string;
  /** The descriptor that the call names; -1 for an open. */
  readonly fd: number;
  /** "EINVAL". */
  readonly errno: string;
  /** Why, in words. */
  readonly reason: string | undefined;
}

/** What people want to know of a call that failed. */
export function callFailure(call: FinishedCall): CallFailure {
  const { program, pid, tid, fd, result, error } = call;
  return { program, pid, tid, call: callName(call), fd, errno: errnoName(-result), reason: error?.reason };
}

/** "iova-ranges[4711]: VFIO_IOMMU_MAP_DMA = EINVAL: iova 0x... overlaps ..." */
export function failureLine({ program, pid, call, errno, reason }: CallFailure): string {
  return `${program}[${pid}]: ${call} = ${errno}${reason === undefined ? "" : `: ${reason}`}`;
}

function callName({ call, dialect, request, path, fd }: FinishedCall): string {
  if (call === "ioctl" && dialect !== undefined) return dialect.nameOf(request);
  return path === undefined ? `${call}(${fd})` : `${call} ${path}`;
}
