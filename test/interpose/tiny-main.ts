import { InterposerError, inheritedDescriptors, ownArguments, runProgram } from "../../src/interpose/index.ts";
import { type TinyHostOptions, tinyHost } from "./tiny-host.ts";

/** tiny-main OPTIONS-AS-JSON PROGRAM [ARG...]: the command that the tests run; its status is the program's. */
const descriptors = inheritedDescriptors();
const { host = {}, ...options } = JSON.parse(process.argv[2]!) as { host?: TinyHostOptions } & Record<string, never>;
const argv = ownArguments(process.argv.length - 3);
try {
  process.exitCode = await runProgram(tinyHost(host), { argv, descriptors, ...options });
} catch (error) {
  const code = error instanceof InterposerError ? error.code : "other";
  console.error(`tiny-main: ${code}: ${(error as Error).message}`);
  process.exitCode = 2;
}
