import type { AddressSpace } from "../../kernel/address-space.ts";
import type { KernelError } from "../../kernel/errors.ts";
import type { FileDescription, ForeignFile, MmapRequest } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import type { ModelWatch } from "../../vfio/model-watch.ts";

/** How a call ended. */
export interface CallResult {
  /** The value, or -1. */
  readonly ret: number;
  readonly error: KernelError | undefined;
  readonly microseconds: number;
  /** A file that the caller got a descriptor of. */
  readonly installed: FileDescription | undefined;
}

/** A call of a program to one of the model's files, as every transport makes it. */
export type ModelCall = {
  /** Undefined for a close, which nobody calls: the last reference went. */
  readonly task: Task | undefined;
  /** Undefined for an open. */
  readonly file: FileDescription | undefined;
} & (
  | { readonly op: "open"; readonly path: string; readonly flags: number }
  | { readonly op: "ioctl"; readonly request: number; readonly arg: Word }
  | { readonly op: "pread" | "pwrite"; readonly address: Word; readonly count: number; readonly offset: Word }
  | { readonly op: "mmap"; readonly request: MmapRequest }
  | { readonly op: "close" }
  /** The model looks for what programs wrote to memory that they have mapped. */
  | { readonly op: "poll" }
);

/** A stretch of a process's memory that the model holds for DMA. */
export interface Pin {
  readonly space: AddressSpace;
  readonly vaddr: number;
  /** Bytes. */
  readonly length: number;
  readonly write: boolean;
  /** Pages that count as locked memory; fewer than there are where it is a device's. */
  readonly charged: number;
}

/**
 * Hears of every call before and after, and of what the model does with the program's memory meanwhile. All parts are
 * optional. Memory is named by the transport's own object for it.
 */
export interface Watcher {
  /** Throws KernelError to have the call fail with that, without the model hearing of it. */
  before?(call: ModelCall): void;
  after?(call: ModelCall, result: CallResult): void;
  /** The model took bytes from the caller's memory, or put them there. */
  copied?(space: AddressSpace, address: number, bytes: Uint8Array, into: "model" | "program"): void;
  /** A copy that failed with EFAULT. */
  notCopied?(space: AddressSpace, address: number, length: number, into: "model" | "program"): void;
  /** The model asked for a descriptor of the caller. */
  looked?(fd: number, file: FileDescription | undefined): void;
  /** The model asked for the caller's rights. */
  asked?(what: "euid" | "memlock" | number, answer: number): void;
  pinned?(pin: Pin): void;
  /** Pinning failed: a negative errno. */
  notPinned?(space: AddressSpace, vaddr: number, length: number, write: boolean, errno: number): void;
  unpinned?(pin: Pin): void;
  /** A device read or wrote held memory. `failed` when the memory is gone. */
  reached?(pin: Pin, address: number, bytes: Uint8Array, write: boolean, failed: boolean): void;
  /** An interrupt reached an eventfd of a program. */
  signalled?(event: ForeignFile): void;
  readonly model?: ModelWatch;
}

/** One ModelWatch for several; undefined when nobody watches. */
export function joinModelWatches(watchers: readonly Pick<Watcher, "model">[]): ModelWatch | undefined {
  const watches = watchers.flatMap(({ model }) => (model ? [model] : []));
  if (watches.length <= 1) return watches[0];
  return {
    dma: (...access) => {
      for (const watch of watches) {
        const reason = watch.dma?.(...access);
        if (reason !== undefined) return reason;
      }
      return undefined;
    },
    dmaDone: (...access) => {
      for (const watch of watches) watch.dmaDone?.(...access);
    },
    registerWritten: (...write) => {
      for (const watch of watches) watch.registerWritten?.(...write);
    },
    interrupt: (...raised) => {
      for (const watch of watches) watch.interrupt?.(...raised);
    },
    worked: (pieces) => {
      for (const watch of watches) watch.worked?.(pieces);
    },
  };
}
