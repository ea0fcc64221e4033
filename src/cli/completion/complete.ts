import type { Argument, Command, Option } from "commander";
import { printLine } from "../output.ts";
import { type Candidate, type Context, type Place, placeOf } from "./values.ts";

/**
 * `uvfio complete -- WORD...`: what the last word could become: a candidate a line, with a tab and what it means, then
 * a line of words behind a colon that say what else the shell is to offer: files, directories, commands; continues when
 * candidates are beginnings of words.
 */
export async function completeCommand(program: Command, words: readonly string[]): Promise<number> {
  const { candidates, also, continues } = await complete(program, words.slice(0, -1), words.at(-1) ?? "");
  for (const { value, description } of candidates) printLine(`${value}\t${description}`);
  printLine(`:${[also, continues && "continues"].filter(Boolean).join(" ")}`);
  return 0;
}

async function complete(program: Command, before: readonly string[], current: string): Promise<Place> {
  const beginning = ({ candidates, ...rest }: Place, word = current): Place => ({
    ...rest,
    candidates: candidates.filter(({ value }) => value.startsWith(word)),
  });
  const [name, ...rest] = before;
  if (name === undefined)
    return beginning({ candidates: current.startsWith("-") ? options(program) : commands(program) });
  const command = program.commands.find((each) => each.name() === name);
  if (!command) return { candidates: [] };
  const { option, argument, onlyArguments, machine } = read(command, rest);
  const valuePlace = (option: Option, begun: string) =>
    placeOf(name, optionName(option), option.flags, { machine, begun });
  if (option) return beginning(await valuePlace(option, current));
  if (!onlyArguments && current.startsWith("-")) {
    const [, flag, begun] = /^(--[^=]+)=(.*)$/s.exec(current) ?? [];
    const given = flag === undefined ? undefined : findOption(command, flag);
    if (!given) return beginning({ candidates: options(command) });
    const place = beginning(await valuePlace(given, begun!), begun!);
    return {
      ...place,
      candidates: place.candidates.map((each) => ({ ...each, value: `${flag}=${each.value}` })),
    };
  }
  if (!argument) return { candidates: [] };
  const context: Context = { machine, begun: current };
  return beginning(await placeOf(name, argument.name(), `<${argument.name()}>`, context));
}

/** What the words before the last one make of it. */
interface Read {
  /** The last word is this option's value. */
  readonly option: Option | undefined;
  /** The argument whose turn it is. */
  readonly argument: Argument | undefined;
  /** No option can follow. */
  readonly onlyArguments: boolean;
  readonly machine: string | undefined;
}

function read(command: Command, words: readonly string[]): Read {
  const passes = command.registeredArguments[0]?.name() === "program";
  let option: Option | undefined;
  let machine: string | undefined;
  let positional = 0;
  let onlyArguments = false;
  for (const word of words) {
    const taken = option;
    option = undefined;
    if (taken && !(taken.variadic && word.startsWith("-"))) {
      if (optionName(taken) === "machine") machine = word;
      if (taken.variadic) option = taken;
    } else if (!onlyArguments && word === "--") onlyArguments = true;
    else if (!onlyArguments && word.startsWith("-") && word !== "-") {
      const [flag, value] = word.split(/=(.*)/s, 2) as [string, string?];
      const found = findOption(command, flag);
      if (found && optionName(found) === "machine" && value !== undefined) machine = value;
      if (found && (found.required || found.optional) && value === undefined) option = found;
    } else {
      positional++;
      // what follows is the program's own
      onlyArguments ||= passes;
    }
  }
  const last = command.registeredArguments.at(-1);
  const argument = command.registeredArguments[positional] ?? (last?.variadic ? last : undefined);
  return { option, argument, onlyArguments, machine };
}

function findOption(command: Command, flag: string): Option | undefined {
  return command.options.find(({ long, short }) => long === flag || short === flag);
}

function optionName(option: Option): string {
  return option.long?.slice(2) ?? "";
}

function options(command: Command): Candidate[] {
  const visible = command.createHelp().visibleOptions(command);
  return visible.flatMap(({ long, short, description }) =>
    [long, short].flatMap((flag) => (flag ? [{ value: flag, description }] : [])),
  );
}

function commands(program: Command): Candidate[] {
  const visible = program.createHelp().visibleCommands(program);
  return visible.map((command) => ({ value: command.name(), description: command.description() }));
}
