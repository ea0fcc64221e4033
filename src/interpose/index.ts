export { InterposerError, type InterposerErrorCode } from "./interposer-error.ts";
export type { FinishedCall, Observer } from "./observer.ts";
export { inheritedDescriptors, ownArguments } from "./process-facts.ts";
export { Preparation, type PrepareOptions, type RunOptions, runProgram } from "./run-program.ts";
