import type { Command } from "commander";

/** The manual page in man(7)'s macros, from the same table as `--help`. */
export function manPage(program: Command): string {
  const name = program.name();
  const lines = [
    `.TH ${name.toUpperCase()} 1 "" "${name} ${program.version()}" "User Commands"`,
    ".SH NAME",
    `${name} \\- ${roff(firstSentence(program.description()))}`,
    ".SH SYNOPSIS",
    `.B ${name}`,
    ".I command",
    ".RI [ options ]",
    ".SH DESCRIPTION",
    roff(program.description()),
    ".SH COMMANDS",
  ];
  for (const command of program.createHelp().visibleCommands(program)) {
    if (command.name() !== "help") lines.push(...commandSection(program, command));
  }
  lines.push(
    ".SH EXIT STATUS",
    ...definition("0", "fine; for run, the program's own exit status"),
    ...definition("1", "the answer is no: a guest does not fit, a replay differs, a test failed"),
    ...definition("2", "usage, bad input or lost output: one line on stderr says what, where, and what to do"),
    ...definition("141", "nobody reads the output any more"),
    ".SH ENVIRONMENT",
    ...definition("NO_COLOR", "no colours on a terminal"),
    ...definition("TMPDIR", "where selftests builds"),
    ...definition("UVFIO_DEBUG", "with a defect of uvfio itself, say where it happened"),
  );
  return `${lines.join("\n")}\n`;
}

function commandSection(program: Command, command: Command): string[] {
  const help = command.createHelp();
  const { before, after } = textsAround(command);
  return [
    `.SS "${roff(`${program.name()} ${command.name()} ${command.usage()}`)}"`,
    roff(sentence(command.description())),
    ...help
      .visibleArguments(command)
      .flatMap((argument) => definition(argument.name(), help.argumentDescription(argument))),
    ...help.visibleOptions(command).flatMap((option) => definition(option.flags, help.optionDescription(option))),
    ...preformatted(before),
    ...preformatted(after),
  ];
}

/** What addHelpText has put around a command's help: commander has no other way to ask for it. */
function textsAround(command: Command): { readonly before: string; readonly after: string } {
  let whole = "";
  const info = command.helpInformation();
  const before = command.configureOutput();
  command.configureOutput({
    writeOut: (text) => {
      whole += text;
    },
  });
  command.outputHelp();
  command.configureOutput(before);
  const at = whole.indexOf(info);
  return { before: whole.slice(0, at), after: whole.slice(at + info.length) };
}

function preformatted(text: string): string[] {
  const trimmed = text.replace(/^\n+|\s+$/g, "");
  return trimmed === "" ? [] : [".PP", ".nf", ...trimmed.split("\n").map(roff), ".fi"];
}

function definition(term: string, text: string): string[] {
  return [".TP", `.B ${roff(term)}`, roff(text)];
}

function firstSentence(text: string): string {
  return text.split(":")[0]!;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** A backslash and a leading dot or quote mean something to roff, and a plain hyphen is printed as a long one. */
function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll('"', "\\(dq")
    .replace(/^[.']/, (sign) => `\\&${sign}`);
}
