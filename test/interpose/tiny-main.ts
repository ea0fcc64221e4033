import { InterposerError, inheritedDescriptors, ownArguments, runProgram } from "../../src/interpose/index.ts";

/** tiny-main OPTIONS-AS-JSON PROGRAM [ARG...]: the command that the tests run; its status is the program's. */
const descriptors = inheritedDescriptors();
const { worker, ...options } = JSON.parse(process.argv[2]!) as { worker?: unknown } & Record<string, never>;
const argv = ownArguments(process.argv.length - 3);
try {
  process.exitCode = await runProgram({
    argv,
    descriptors,
    workerUrl: new URL("./tiny-worker.js", import.meta.url),
    workerData: worker ?? {},
    ...options,
  });
} catch (error) {
  const code = error instanceof InterposerError ? error.code : "other";
  console.error(`tiny-main: ${code}: ${(error as Error).message}`);
  process.exitCode = 2;
}
