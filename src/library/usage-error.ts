/**
 * What was asked makes no sense, whatever the host or the program. The message is one line and says what would be
 * right.
 */
export class UsageError extends Error {
  /** For whoever finds something that cannot be asked. */
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}
