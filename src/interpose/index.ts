export { descendants, signalAll } from "./descendants.ts";
export { InterposerError, type InterposerErrorCode } from "./interposer-error.ts";
export type { FinishedCall, Observer } from "./observer.ts";
export { inheritedDescriptors, ownArguments } from "./process-facts.ts";
export { launchProgram, type RunOptions, runProgram, type TimeLimit } from "./run-program.ts";
export { type FromServer, PROTOCOL, type Request } from "./serve/messages.ts";
export { RemoteHost, ServeSocket } from "./serve/remote-host.ts";
export { ServedHost } from "./serve/served-host.ts";
export type { Served } from "./served.ts";
