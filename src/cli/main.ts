#!/usr/bin/env node
import { describeError, EXIT_USAGE, isCommandLineError } from "./errors.ts";
import { cancelPreparation, prepareEarly } from "./prepare-run.ts";

const args = process.argv.slice(2);
// Two processes and a thread boot before a program runs: they begin before the rest of this one is loaded.
if (args[0] === "run") prepareEarly();

try {
  const argv = plainRun();
  if (argv) process.exitCode = await (await import("./run-command.ts")).runCommand(argv, {});
  else process.exitCode = await (await import("./program.ts")).buildProgram(args);
} catch (error) {
  if (isCommandLineError(error)) {
    // commander has said what is wrong; help and version are no errors
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
  } else {
    const line = describeError(error);
    if (line === undefined) throw error;
    process.stderr.write(`uvfio: ${line}\n`);
    process.exitCode = EXIT_USAGE;
  }
} finally {
  await cancelPreparation();
}

/** The program and its arguments of a `uvfio run` without options: nobody need be loaded to read that. */
function plainRun(): string[] | undefined {
  const [command, first = "-", ...rest] = args;
  if (command !== "run") return undefined;
  if (first === "--") return rest.length > 0 ? rest : undefined;
  return first.startsWith("-") ? undefined : [first, ...rest];
}
