/**
 * What a value that was read from JSON must look like: an example of it. A list has one example of all its members;
 * `null` in a pair (`orNull`) may stand for what is missing.
 */
export type Shape = number | string | boolean | readonly [Shape] | OrNull | { readonly [key: string]: Shape };

interface OrNull {
  readonly orNull: Shape;
}

/** Hex digits, in an example. */
export const HEX = "hex";

/** The largest number that an example's numbers stand for. */
const MOST = 2 ** 48;

/**
 * Where a value is not as its example is; undefined when it is as it must be. Numbers are not negative, and whole
 * unless the example is not; strings are hex digits where the example is HEX.
 */
export function misfit(value: unknown, like: Shape, path = ""): string | undefined {
  const wrong = path === "" ? "the whole" : path;
  if (typeof like === "number") {
    const fits = typeof value === "number" && value >= 0 && value < MOST && (Number.isInteger(value) || like % 1 !== 0);
    return fits ? undefined : wrong;
  }
  if (typeof like === "string")
    return typeof value === "string" && (like !== HEX || /^[0-9a-f]*$/.test(value)) ? undefined : wrong;
  if (typeof like === "boolean") return typeof value === "boolean" ? undefined : wrong;
  if (isList(like)) {
    if (!Array.isArray(value)) return wrong;
    return first(value.keys(), (i) => misfit(value[i], like[0], `${path}[${i}]`));
  }
  if ("orNull" in like) return value === null ? undefined : misfit(value, (like as OrNull).orNull, path);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return wrong;
  const own = value as Record<string, unknown>;
  return first(Object.keys(like), (key) =>
    misfit(own[key], (like as Record<string, Shape>)[key]!, path === "" ? key : `${path}.${key}`),
  );
}

function isList(like: Shape): like is readonly [Shape] {
  return Array.isArray(like);
}

function first<T>(items: Iterable<T>, look: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const found = look(item);
    if (found !== undefined) return found;
  }
  return undefined;
}
