#!/usr/bin/env node
import { ownArguments } from "../interpose/index.ts";
import { textOfBytes } from "../uapi/byte-text.ts";
import { describeError, EXIT_CLOSED_PIPE, EXIT_USAGE, isClosedPipe, isCommandLineError } from "./errors.ts";
import { complain, complainRaw } from "./output.ts";
import { type RunOptions, runCommand } from "./run-command.ts";

const args = exactArguments();
process.on("uncaughtException", (error) => process.exit(failed(error)));
void main();

async function main(): Promise<void> {
  try {
    const run = plainRun();
    process.exitCode = run
      ? await runCommand(run.argv, run.options)
      : await (await import("./program.ts")).buildProgram(args);
    // The usual host leaves nothing to be done, and node's own end takes longer where it takes everything down first.
    // On another one a model of somebody's may still be at work.
    if (run && run.options.machine === undefined) process.exit();
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

/** A `uvfio run` with no option but its host: nobody need be loaded to read that. */
function plainRun(): { readonly argv: readonly string[]; readonly options: RunOptions } | undefined {
  if (args[0] !== "run") return undefined;
  const [option, machine] = args.slice(1);
  const hasHost = (option === "-m" || option === "--machine") && machine !== undefined && !machine.startsWith("-");
  const argv = args.slice(hasHost ? 3 : 1);
  if (argv[0] === "--") argv.shift();
  else if (argv[0]?.startsWith("-")) return undefined;
  return argv.length > 0 ? { argv, options: hasHost ? { machine } : {} } : undefined;
}
