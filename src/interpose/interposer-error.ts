/** Why a program could not be run under uvfio. */
export type InterposerErrorCode =
  | "bad-input"
  | "program-not-found"
  | "not-executable"
  | "wrong-format"
  | "kernel-too-old"
  | "no-user-namespace"
  | "not-permitted"
  | "nested"
  | "tree-failed"
  | "host-failed";

/** The program could not be started or served. The message is one line for the person who started it. */
export class InterposerError extends Error {
  /** What kind of refusal it is. */
  readonly code: InterposerErrorCode;

  constructor(code: InterposerErrorCode, message: string) {
    super(message);
    this.name = "InterposerError";
    this.code = code;
  }
}
