import { KernelError } from "../../kernel/errors.ts";
import type { ErrnoName } from "../../uapi/errno.ts";

/** A failure that was ordered, not found. */
export class InjectedError extends KernelError {
  constructor(code: ErrnoName, reason: string) {
    super(code, reason);
    this.name = "InjectedError";
  }
}

export function isInjected(error: KernelError | undefined): boolean {
  return error instanceof InjectedError;
}
