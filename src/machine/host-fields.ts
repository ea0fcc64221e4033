import { didYouMean } from "../kernel/nearest.ts";
import { type Reading, shown } from "../kernel/written-values.ts";

/**
 * What the fields of a host file are read with: single values, lists, mappings. A host of thousands of devices is read
 * at every start of a program, so a field that is fine costs its check and no more.
 */

/** Where a value is: keys and indices from the top. */
export type FieldPath = readonly (string | number)[];

/** A problem in a file, before it is known in which line. */
export interface Problem {
  readonly path: FieldPath;
  readonly message: string;
  /** The key, not its value, is what is wrong: names a key of the mapping at `path`. */
  readonly key?: string;
  /** There is no such value. Told last: a misspelt key elsewhere usually explains it. */
  readonly missing?: boolean;
}

/** A problem on its way up: each list and mapping around it puts its own step before its path. */
interface Found extends Problem {
  readonly path: (string | number)[];
}

/** Reads a value. Where something is wrong it says so in `problems`, and what it returns is not to be used. */
export type Field<T> = (value: unknown, problems: Found[]) => T;

/** A field that need not be there, or may be null. */
export interface NullishField<T> extends Field<T | null | undefined> {
  readonly isNullish: true;
}

type Fields = Readonly<Record<string, Field<unknown>>>;
type ValueOf<F> = F extends Field<infer T> ? T : never;
type NullishKeys<F extends Fields> = { [K in keyof F]: F[K] extends NullishField<unknown> ? K : never }[keyof F];

/** What a mapping of such fields holds. */
export type Mapping<F extends Fields> = { [K in Exclude<keyof F, NullishKeys<F>>]: ValueOf<F[K]> } & {
  [K in NullishKeys<F>]?: ValueOf<F[K]>;
};

/** What is read, or a problem for each value that is wrong: those of a mapping in the order of its fields. */
export function readField<T>(
  field: Field<T>,
  value: unknown,
): { readonly value: T } | { readonly problems: Problem[] } {
  const problems: Found[] = [];
  const read = field(value, problems);
  return problems.length > 0 ? { problems } : { value: read };
}

/** A single value, which must be there. */
export function checked<T>(check: (value: unknown) => Reading<T>): Field<T> {
  return (value, problems) => {
    if (value === undefined || value === null) return refused(problems, "missing");
    const reading = check(value);
    return "value" in reading ? reading.value : refused(problems, reading.problem);
  };
}

export function nullish<T>(field: Field<T>): NullishField<T> {
  const read = (value: unknown, problems: Found[]) =>
    value === undefined || value === null ? value : field(value, problems);
  return Object.assign(read, { isNullish: true as const });
}

export function list<T>(each: Field<T>): Field<T[]> {
  return (value, problems) => {
    if (!Array.isArray(value)) return refused(problems, notA("list", value));
    const read: T[] = [];
    for (let index = 0; index < value.length; index++) read.push(inside(each, value[index], index, problems));
    return read;
  };
}

/** A list of so many. @param problem what is said of all else */
export function listOf<T>(size: number, each: Field<T>, problem: string): Field<T[]> {
  const whole = list(each);
  return (value, problems) =>
    Array.isArray(value) && value.length === size ? whole(value, problems) : refused(problems, problem);
}

/** A mapping. @param passesOver unknown keys are nobody's mistake */
export function mapping<F extends Fields>(fields: F, passesOver: boolean): Field<Mapping<F>> {
  const names = Object.keys(fields);
  const known = new Map(Object.entries(fields));
  const required = names.filter((name) => !("isNullish" in fields[name]!));
  return (value, problems) => {
    if (!isMapping(value)) return refused(problems, notA("mapping", value));
    const before = problems.length;
    const read: Record<string, unknown> = {};
    const given = value as Readonly<Record<string, unknown>>;
    for (const name in given) {
      const field = known.get(name);
      if (field !== undefined) read[name] = inside(field, given[name], name, problems);
      else if (!passesOver) problems.push({ path: [], key: name, message: unknownKey(name, names) });
    }
    for (const name of required) if (!(name in read)) inside(fields[name]!, undefined, name, problems);
    if (problems.length > before) inOrder(problems, before, names);
    return read as Mapping<F>;
  };
}

export function isMapping(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function inside<T>(field: Field<T>, value: unknown, step: string | number, problems: Found[]): T {
  const before = problems.length;
  const read = field(value, problems);
  for (let at = before; at < problems.length; at++) problems[at]!.path.unshift(step);
  return read;
}

function refused(problems: Found[], message: string): never {
  problems.push({ path: [], message, ...(message === "missing" && { missing: true }) });
  return undefined as never;
}

function notA(what: string, value: unknown): string {
  return value === undefined || value === null ? "missing" : `must be a ${what}, not ${shown(value)}`;
}

function unknownKey(key: string, known: readonly string[]): string {
  return `unknown key${didYouMean(key, known) || ` (there are: ${known.join(", ")})`}`;
}

/** Problems of a mapping's fields in the order of these, and behind them its unknown keys as they came. */
function inOrder(problems: Found[], from: number, names: readonly string[]): void {
  const rank = ({ path, key }: Found) =>
    path.length === 0 && key !== undefined ? names.length : names.indexOf(path[0] as string);
  problems.push(...problems.splice(from).sort((a, b) => rank(a) - rank(b)));
}
