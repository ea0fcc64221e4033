import type { AddressSpace } from "./address-space.ts";
import type { FileDescription } from "./file-description.ts";

/** Linux capability numbers (include/uapi/linux/capability.h) that VFIO looks at. */
export const CAP_DAC_OVERRIDE = 1;
export const CAP_IPC_LOCK = 14;
export const CAP_SYS_RAWIO = 17;
export const CAP_SYS_ADMIN = 21;
export const CAP_SYS_RESOURCE = 24;

/** The file descriptors of a process. */
export interface FileTable {
  /**
   * The description behind a descriptor; undefined when it is not open (EBADF). A file that is not the model's is a
   * ForeignFile.
   */
  get(fd: number): FileDescription | undefined;

  /**
   * fd_install(): gives the caller a new descriptor for `file` and returns its number. Throws EMFILE.
   * From here on the description belongs to the table; release() comes when the last descriptor for it is gone.
   */
  install(file: FileDescription, closeOnExec: boolean): number;
}

/** Who makes a call (the kernel's `current`). Valid during that call only. */
export interface Task {
  /** Thread and process id, as the program sees them in messages. */
  readonly tid: number;
  readonly pid: number;
  /** Short name of the program, for messages. */
  readonly name: string;
  readonly memory: AddressSpace;
  readonly files: FileTable;
  /** Effective user id: 0 may open what only root may. */
  readonly euid: number;
  capable(capability: number): boolean;
  /** The soft RLIMIT_MEMLOCK in bytes; Infinity when unlimited. */
  memlockLimit(): number;
}
