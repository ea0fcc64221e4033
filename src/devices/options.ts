import { didYouMean } from "../kernel/nearest.ts";
import {
  type Reading,
  readBoolean,
  readNumber,
  readOneOf,
  readSize,
  readText,
  readUnsigned64,
  shown,
} from "../kernel/written-values.ts";

/**
 * Options of a kind of device: what `options` of a device may say in a host file. A kind declares them, and everybody
 * who reads, checks or writes a description works by that.
 */

/** What an option can be. */
export type OptionValue = boolean | number | bigint | string | readonly string[] | readonly DeviceOptions[];

/** Values by name, read and complete. One without default is absent when nobody gave it. */
export interface DeviceOptions {
  readonly [name: string]: OptionValue | undefined;
}

/** One option. */
export interface DeviceOption<T extends OptionValue | undefined> {
  /** What it is, in a line: the comment in host files that are written. */
  readonly meaning: string;
  /** Its value when nobody gives one. */
  readonly default: T;
  /** Takes what YAML or JavaScript has (text, number, bigint, boolean), and what it read itself. */
  read(value: unknown): Reading<NonNullable<T>>;
  /** It names a file: in a host file, seen from the folder of that. */
  readonly isPath?: true;
  /** Of a list: the options of each of its entries. */
  readonly entries?: OptionSchema;
}

/** The options of a kind, by name. */
export type OptionSchema<Values extends DeviceOptions = DeviceOptions> = {
  readonly [Name in keyof Values]-?: DeviceOption<Values[Name]>;
};

/** Something wrong with an option, or, without a name, with all of them. */
export interface OptionProblem {
  /** Which one. */
  readonly option?: string;
  /** Not the value is wrong, but that there is this option. */
  readonly isUnknown?: true;
  /** What is wrong with it. */
  readonly message: string;
}

interface Common<T> {
  readonly meaning: string;
  readonly default: T;
}

/** true or false. */
export function flag(facts: Common<boolean>): DeviceOption<boolean> {
  return { ...facts, read: readBoolean };
}

/** A whole number from `least` to `most`. */
export function wholeNumber<T extends number | undefined>(
  facts: Common<T> & { readonly least: number; readonly most: number },
): DeviceOption<T> {
  const { least, most } = facts;
  return { ...facts, read: (value) => readNumber(value, least, most) as Reading<NonNullable<T>> };
}

/** 64 bits: an address, a mask. */
export function bits64<T extends bigint | undefined>(facts: Common<T>): DeviceOption<T> {
  const read = (value: unknown) => readUnsigned64(value, "a number of 64 bits", "0xffffffff");
  return { ...facts, read: read as DeviceOption<T>["read"] };
}

/** Bytes; in a file also as 64K, 16M, 2G, 1T. */
export function byteCount<T extends number | undefined>(facts: Common<T>): DeviceOption<T> {
  return { ...facts, read: (value) => readSize(value) as Reading<NonNullable<T>> };
}

/** One of some words. */
export function oneOfWords<const Word extends string>(
  facts: Common<Word> & { readonly words: readonly Word[] },
): DeviceOption<Word> {
  return { ...facts, read: (value) => readOneOf(value, facts.words) };
}

/** A line of text. */
export function lineOfText<T extends string | undefined>(facts: Common<T>): DeviceOption<T> {
  return { ...facts, read: (value) => readText(value) as Reading<NonNullable<T>> };
}

/** A path of a file. */
export function filePath<T extends string | undefined>(facts: Common<T>): DeviceOption<T> {
  return { ...lineOfText(facts), isPath: true };
}

/** A list of words, such as a command line. */
export function listOfWords(facts: Common<undefined>): DeviceOption<readonly string[] | undefined> {
  return { ...facts, read: readWords };
}

function readWords(value: unknown): Reading<readonly string[]> {
  if (!Array.isArray(value) || value.length === 0) return { problem: `must be a list of words, not ${shown(value)}` };
  const words: string[] = [];
  for (const [index, word] of value.entries()) {
    const reading = readText(word);
    if ("problem" in reading) return { problem: `word ${index + 1}: ${reading.problem}` };
    words.push(reading.value);
  }
  return { value: words };
}

/** A list of mappings that have options of their own. */
export function listOf<Values extends DeviceOptions>({
  schema,
  ...facts
}: Common<undefined> & { readonly schema: OptionSchema<Values> }): DeviceOption<readonly Values[] | undefined> {
  return { ...facts, entries: schema, read: (value) => readList(schema, value) };
}

/** Reads the entries; the first that is wrong is the list's problem. */
function readList<Values extends DeviceOptions>(
  schema: OptionSchema<Values>,
  value: unknown,
): Reading<readonly Values[]> {
  if (!Array.isArray(value)) return { problem: `must be a list of mappings, not ${shown(value)}` };
  const entries: Values[] = [];
  for (const [index, entry] of value.entries()) {
    if (typeof entry !== "object" || entry === null || Array.isArray(entry))
      return { problem: `entry ${index} must be a mapping, not ${shown(entry)}` };
    const { values, problems } = readValues(schema, entry, (option) => {
      const names = Object.keys(schema);
      return `there is no ${option}${didYouMean(option, names) || ` (there are: ${names.join(", ")})`}`;
    });
    const [problem] = problems;
    if (problem)
      return { problem: `entry ${index}: ${problem.isUnknown ? "" : `${problem.option}: `}${problem.message}` };
    entries.push(values as Values);
  }
  return { value: entries };
}

/** An option whose value turns out to be wrong when its device is made: a file that is not there. */
export class OptionError extends Error {
  override readonly name = "OptionError";
  readonly option: string;

  /** @param option as in a problem: "image" */
  constructor(option: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.option = option;
  }
}

interface HasOptions {
  readonly model: string;
  readonly options?: OptionSchema;
  checkOptions?(options: DeviceOptions): readonly OptionProblem[];
}

interface ReadOptions {
  readonly values: DeviceOptions;
  readonly problems: readonly OptionProblem[];
}

/** What nobody gave, by kind, and the other way round: most devices have that, and are asked for it several times. */
const defaults = new WeakMap<HasOptions, ReadOptions>();
const kindOfDefaults = new WeakMap<DeviceOptions, HasOptions>();

/** The options of a device of a kind: what is given, read, and defaults; or what is wrong with it. */
export function readOptions(kind: HasOptions, given: Readonly<Record<string, unknown>> | undefined): ReadOptions {
  if (given !== undefined && kindOfDefaults.get(given as DeviceOptions) !== kind) return readGiven(kind, given);
  let read = defaults.get(kind);
  if (read === undefined) {
    read = readGiven(kind, {});
    Object.freeze(read.values);
    defaults.set(kind, read);
    kindOfDefaults.set(read.values, kind);
  }
  return read;
}

function readGiven(kind: HasOptions, given: Readonly<Record<string, unknown>>): ReadOptions {
  const schema = kind.options ?? {};
  const names = Object.keys(schema);
  const { values, problems } = readValues(schema, given, (option) => unknown(kind.model, option, names));
  return { values, problems: problems.length > 0 ? problems : (kind.checkOptions?.(values) ?? []) };
}

function readValues(
  schema: OptionSchema,
  given: Readonly<Record<string, unknown>>,
  unknownMessage: (option: string) => string,
): ReadOptions {
  const names = Object.keys(schema);
  const problems: OptionProblem[] = [];
  for (const option of Object.keys(given))
    if (!names.includes(option)) problems.push({ option, isUnknown: true, message: unknownMessage(option) });
  const values: Record<string, OptionValue> = {};
  for (const name of names) {
    const value = given[name] ?? undefined;
    const reading = value === undefined ? undefined : schema[name]!.read(value);
    if (reading && "problem" in reading) {
      problems.push({ option: name, message: reading.problem });
      continue;
    }
    const result = reading ? reading.value : schema[name]!.default;
    if (result !== undefined) values[name] = result;
  }
  return { values, problems };
}

function unknown(model: string, option: string, names: readonly string[]): string {
  if (names.length === 0) return `the model ${model} has no options`;
  return `no option of the model ${model}${didYouMean(option, names) || ` (there are: ${names.join(", ")})`}`;
}
