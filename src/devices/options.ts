import { didYouMean } from "../kernel/nearest.ts";
import {
  type Reading,
  readBoolean,
  readNumber,
  readOneOf,
  readSize,
  readText,
  readUnsigned64,
} from "../kernel/written-values.ts";

/**
 * Options of a kind of device: what `options` of a device may say in a host file. A kind declares them, and everybody who reads, checks or writes a
 * description works by that.
 */

/** What an option can be. */
export type OptionValue = boolean | number | bigint | string;

/** Values by name, read and complete. One without default is absent when nobody gave it. */
export type DeviceOptions = Readonly<Record<string, OptionValue | undefined>>;

/** One option. */
export interface DeviceOption<T extends OptionValue | undefined> {
  /** What it is, in a line: the comment in host files that are written. */
  readonly meaning: string;
  /** Its value when nobody gives one. */
  readonly default: T;
  /** Takes what YAML or JavaScript has (text, number, bigint, boolean), and what it read itself. */
  read(value: unknown): Reading<NonNullable<T>>;
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

interface HasOptions {
  readonly model: string;
  readonly options?: OptionSchema;
  checkOptions?(options: DeviceOptions): readonly OptionProblem[];
}

/** The options of a device of a kind: what is given, read, and defaults; or what is wrong with it. */
export function readOptions(
  kind: HasOptions,
  given: Readonly<Record<string, unknown>>,
): { readonly values: DeviceOptions; readonly problems: readonly OptionProblem[] } {
  const schema = kind.options ?? {};
  const names = Object.keys(schema);
  const problems: OptionProblem[] = [];
  for (const option of Object.keys(given))
    if (!names.includes(option))
      problems.push({ option, isUnknown: true, message: unknown(kind.model, option, names) });
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
  if (problems.length === 0) problems.push(...(kind.checkOptions?.(values) ?? []));
  return { values, problems };
}

function unknown(model: string, option: string, names: readonly string[]): string {
  if (names.length === 0) return `the model ${model} has no options`;
  return `no option of the model ${model}${didYouMean(option, names) || ` (there are: ${names.join(", ")})`}`;
}
