#!/usr/bin/env node
import { ownArguments } from "../interpose/index.ts";
import { textOfBytes } from "../uapi/byte-text.ts";
import { describeError, EXIT_CLOSED_PIPE, EXIT_USAGE, isClosedPipe, isCommandLineError } from "./errors.ts";
import { complain, complainRaw } from "./output.ts";
import { runCommand } from "./run-command.ts";

const args = exactArguments();
process.on("uncaughtException", (error) => process.exit(failed(error)));
void main();

async function main(): Promise<void> {
  try {
    const argv = plainRun();
    process.exitCode = argv ? await runCommand(argv, {}) : await (await import("./program.ts")).buildProgram(args);
  } catch (error) {
    process.exitCode = failed(error);
  }
}

/** The command line, in which bytes that are no UTF-8 are kept (byte-text.ts): node gives U+FFFD for them. */
function exactArguments(): string[] {
  const given = process.argv.slice(2);
  // Not written as a character: the joined command is all ASCII.
  const replacement = String.fromCharCode(0xfffd);
  return given.some((text) => text.includes(replacement)) ? ownArguments(given.length).map(textOfBytes) : given;
}

/** Says what is wrong; returns the exit status. */
function failed(error: unknown): number {
  // commander has said what is wrong; help and version are no errors
  if (isCommandLineError(error)) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (isClosedPipe(error)) return EXIT_CLOSED_PIPE;
  for (const line of describeError(error)) complain(line);
  if (error instanceof Error && "output" in error && error.output !== undefined) complainRaw(`${error.output}\n`);
  if (process.env.UVFIO_DEBUG && error instanceof Error) complainRaw(`${error.stack}\n`);
  return EXIT_USAGE;
}

/** The program and its arguments of a `uvfio run` without options: nobody need be loaded to read that. */
function plainRun(): string[] | undefined {
  const [command, first = "-", ...rest] = args;
  if (command !== "run") return undefined;
  if (first === "--") return rest.length > 0 ? rest : undefined;
  return first.startsWith("-") ? undefined : [first, ...rest];
}
