/** What a field of a recorded operation holds: the check of its value, and the type that it then has. */
export interface FieldCheck<T> {
  /** For messages: "a number". */
  readonly what: string;
  readonly optional: boolean;
  passes(value: unknown): value is T;
}

export interface OptionalCheck<T> extends FieldCheck<T> {
  readonly optional: true;
}

export type Shape = Readonly<Record<string, FieldCheck<unknown>>>;
type ValueOf<Check> = Check extends FieldCheck<infer T> ? T : never;
type OptionalKeys<S extends Shape> = { [K in keyof S]: S[K] extends OptionalCheck<unknown> ? K : never }[keyof S];

/** The type of an object whose fields passed a shape's checks. */
export type FieldsOf<S extends Shape> = { readonly [K in Exclude<keyof S, OptionalKeys<S>>]: ValueOf<S[K]> } & {
  readonly [K in OptionalKeys<S>]?: ValueOf<S[K]>;
};

/** The longest text of a field that people write or read: a path, a reason, a name. */
const TEXT_MAX = 65536;
/** The most bytes that a field in hexadecimal stands for. */
export const BYTES_MAX = 4 * 2 ** 20;
const LIST_MAX = 16384;
const DEPTH_MAX = 8;
const ALL_64_BITS = 1n << 64n;

function check<T>(what: string, passes: (value: unknown) => boolean): FieldCheck<T> {
  return { what, optional: false, passes: passes as FieldCheck<T>["passes"] };
}

export function optional<T>(required: FieldCheck<T>): OptionalCheck<T> {
  return { ...required, optional: true };
}

export const text = check<string>(
  `a text of at most ${TEXT_MAX} characters`,
  (value) => typeof value === "string" && value.length <= TEXT_MAX,
);

/** A name, or -1 for a descriptor that could not be opened. */
export const fdName = check<string | -1>(
  "the name of a descriptor, or -1",
  (value) => text.passes(value) || value === -1,
);

export const flag = check<boolean>("true or false", (value) => typeof value === "boolean");

export const integer = check<number>("a whole number of at most 2^53", (value) => Number.isSafeInteger(value));

export const count = check<number>(
  "a whole number from 0 to 2^53",
  (value) => Number.isSafeInteger(value) && (value as number) >= 0,
);

/** A number up to `max`, for what costs time or memory. */
export function upTo(max: number): FieldCheck<number> {
  return check(`a whole number from 0 to ${max}`, (value) => count.passes(value) && value <= max);
}

/** A number of up to 64 bits, as JSON has it or written as a text: "0xfee00000". */
export const word = check<number | string>('a number of at most 64 bits, like "0x10"', (value) =>
  typeof value === "string"
    ? /^(0x[0-9a-f]{1,16}|\d{1,20})$/i.test(value) && BigInt(value) < ALL_64_BITS
    : count.passes(value),
);

/** What is passed on as a text. */
export const scalar = check<number | string>(
  "a text or a number",
  (value) => text.passes(value) || Number.isFinite(value),
);

/** A resource limit, which may be none: far more than 2^53. */
export const limit = check<number>("a limit in bytes", (value) => Number.isFinite(value) && (value as number) >= 0);

/** A word that a JavaScript number holds exactly: an address, an offset. */
export const offset = check<number | string>(
  'a number below 2^53, like "0x10"',
  (value) => word.passes(value) && Number.isSafeInteger(Number(value)),
);

export const bytes = check<string>(
  `bytes in hexadecimal, at most ${BYTES_MAX}`,
  (value) => typeof value === "string" && value.length <= 2 * BYTES_MAX && /^([0-9a-f]{2})*$/i.test(value),
);

export const errno = check<string | null>(
  "the name of an errno, or null",
  (value) => value === null || (typeof value === "string" && /^[A-Z0-9_]{1,32}$/.test(value)),
);

/** What people read and no replay uses: any value that is not too deep. */
export const anything = check<object>(`an object of at most ${DEPTH_MAX} levels`, (value) => {
  return typeof value === "object" && value !== null && isShallow(value, DEPTH_MAX);
});

function isShallow(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return levels > 0 && Object.values(value).every((each) => isShallow(each, levels - 1));
}

export function listOf<T>(each: FieldCheck<T>): FieldCheck<readonly T[]> {
  return check(
    `a list of at most ${LIST_MAX}, each ${each.what}`,
    (value) => Array.isArray(value) && value.length <= LIST_MAX && value.every((item) => each.passes(item)),
  );
}

export function record<S extends Shape>(what: string, shape: S): FieldCheck<FieldsOf<S>> {
  return check(
    what,
    (value) =>
      typeof value === "object" &&
      value !== null &&
      failingField(value, shape) === undefined &&
      Object.keys(value).every((name) => Object.hasOwn(shape, name)),
  );
}

/** The first field that is missing or does not pass; undefined when all do. */
export function failingField(value: object, shape: Shape): string | undefined {
  const fields = value as Readonly<Record<string, unknown>>;
  for (const name in shape) {
    const field = shape[name]!;
    const held = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (held === undefined ? !field.optional : !field.passes(held)) return name;
  }
  return undefined;
}
