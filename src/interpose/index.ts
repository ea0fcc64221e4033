export { descendants, signalAll } from "./descendants.ts";
export { InterposerError, type InterposerErrorCode } from "./interposer-error.ts";
export type { FinishedCall, Observer } from "./observer.ts";
export { inheritedDescriptors, ownArguments } from "./process-facts.ts";
export { type RunOptions, runProgram, type Served, type TimeLimit } from "./run-program.ts";
