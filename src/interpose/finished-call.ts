import type { KernelError } from "../kernel/errors.ts";
import type { FileKind } from "../kernel/file-description.ts";
import type { Word } from "../kernel/word.ts";
import type { RequestDialect } from "../uapi/requests/dialect.ts";
import type { CallContext } from "./call-context.ts";
import type { FinishedCall } from "./observer.ts";
import type { TrappedCall } from "./syscall-table.ts";

/**
 * A call as an observer hears of it. Made before the answer, because a program may end as soon as it has that; what the
 * answer adds comes afterwards.
 */
export class FinishedCallReport implements FinishedCall {
  readonly call: TrappedCall;
  readonly tid: number;
  readonly pid: number;
  readonly program: string;
  readonly fd: number;
  readonly kind: FileKind | undefined;
  readonly label: string | undefined;
  readonly dialect: RequestDialect | undefined;
  readonly request: number;
  readonly argument: Word;
  readonly path: string | undefined;
  readonly offset: Word;
  readonly length: number;
  readonly result: number;
  readonly error: KernelError | undefined;
  delivered = false;
  microseconds = 0;

  /** @param isNamed whether the program's name is looked for: that takes three system calls */
  constructor(context: CallContext, result: number, error: KernelError | undefined, isNamed: boolean) {
    const { task, processes } = context.on;
    const { description } = context;
    this.call = context.call;
    this.tid = task.tid;
    this.pid = processes.pidOf(task.tid);
    this.fd = context.fd;
    this.kind = description?.kind;
    this.label = description?.label;
    this.dialect = description?.dialect;
    this.request = context.request;
    this.argument = context.argument;
    this.path = context.path;
    this.offset = context.offset;
    this.length = context.length;
    this.result = result;
    this.error = error;
    this.program = isNamed ? task.name : "";
  }
}
