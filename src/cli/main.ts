#!/usr/bin/env node
import { ownArguments } from "../interpose/index.ts";
import { textOfBytes } from "../uapi/byte-text.ts";
import { describeError, EXIT_USAGE, isCommandLineError } from "./errors.ts";
import { runCommand } from "./run-command.ts";

const args = exactArguments();
void main();

async function main(): Promise<void> {
  try {
    const argv = plainRun();
    process.exitCode = argv ? await runCommand(argv, {}) : await (await import("./program.ts")).buildProgram(args);
  } catch (error) {
    if (isCommandLineError(error)) {
      // commander has said what is wrong; help and version are no errors
      process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
      return;
    }
    const line = describeError(error);
    if (line === undefined) throw error;
    process.stderr.write(`uvfio: ${line}\n`);
    process.exitCode = EXIT_USAGE;
  }
}

/** The command line, in which bytes that are no UTF-8 are kept (byte-text.ts): node gives U+FFFD for them. */
function exactArguments(): string[] {
  const given = process.argv.slice(2);
  // Not written as a character: the joined command is all ASCII.
  const replacement = String.fromCharCode(0xfffd);
  return given.some((text) => text.includes(replacement)) ? ownArguments(given.length).map(textOfBytes) : given;
}

/** The program and its arguments of a `uvfio run` without options: nobody need be loaded to read that. */
function plainRun(): string[] | undefined {
  const [command, first = "-", ...rest] = args;
  if (command !== "run") return undefined;
  if (first === "--") return rest.length > 0 ? rest : undefined;
  return first.startsWith("-") ? undefined : [first, ...rest];
}
