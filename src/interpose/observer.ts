import type { KernelError } from "../kernel/errors.ts";
import type { FileKind } from "../kernel/file-description.ts";
import type { Word } from "../kernel/word.ts";
import type { RequestDialect } from "../uapi/requests/dialect.ts";
import type { TrappedCall } from "./syscall-table.ts";

/** A call of the program that we answered, as a trace or a message shows it. */
export interface FinishedCall {
  readonly call: TrappedCall;
  readonly tid: number;
  readonly pid: number;
  /** Short name of the program; empty for a call that worked, unless Observer.namesAll. */
  readonly program: string;
  /** The descriptor that the call names; for an open() that worked, the one it returned; else -1. */
  readonly fd: number;
  /** Kind and label of the file behind it; undefined when an open() failed. */
  readonly kind: FileKind | undefined;
  readonly label: string | undefined;
  /** What a request number means on that file. */
  readonly dialect: RequestDialect | undefined;
  /** ioctl: the request number and its argument. */
  readonly request: number;
  readonly argument: Word;
  /** open: the path of the node. */
  readonly path: string | undefined;
  /** read, write, mmap: bytes into the file, and how many. */
  readonly offset: Word;
  readonly length: number;
  /** What the program got: a value, or a negative errno. */
  readonly result: number;
  /** Set when the call failed in the model: the errno with its reason. */
  readonly error: KernelError | undefined;
  /** False when the caller was killed before it could be told. */
  readonly delivered: boolean;
  /** From the notification to the answer; 0 for an observer that hears only of calls that failed. */
  readonly microseconds: number;
}

/**
 * Hears what happens while a program is served. The program waits meanwhile: be quick, and write with fs.writeSync,
 * because the event loop stands still.
 */
export interface Observer {
  /** Every call that the model answered or refused. */
  finished?(call: FinishedCall): void;
  /** The program's name is looked for with every call, not with those alone that fail. */
  readonly namesAll?: boolean;
  /** Only those that failed. */
  failed?(call: FinishedCall): void;
  /** Something a person should know although no call failed. One line. */
  noticed?(message: string): void;
  /**
   * Something is wrong with uvfio itself: the model threw what is no KernelError, and the program got EIO; or
   * descriptors ran out. One line.
   */
  broken?(message: string, error: unknown): void;
}
