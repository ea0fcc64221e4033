import type { Layout } from "../layout.ts";

// biome-ignore lint/suspicious/noExplicitAny: layouts of any fields
export type AnyLayout = Layout<any>;
// biome-ignore lint/suspicious/noExplicitAny: fields of any layout
type AnyValue = any;

/** What a number in a structure means: the bits of a set, or the names of values. */
export interface FieldNames {
  readonly kind: "flags" | "values";
  readonly names: ReadonlyMap<number, string>;
  /** Bits of a set of flags that are a value of their own. */
  readonly low?: { readonly mask: number; readonly names: ReadonlyMap<number, string>; readonly otherwise: string };
}

/**
 * What is known of a structure beyond its layout. Functions get its decoded fields; bytes that are not there count as
 * zero.
 */
export interface StructRow {
  readonly layout: AnyLayout;
  readonly names?: Readonly<Record<string, FieldNames>>;
  /** Fields that hold addresses of the program's memory. */
  readonly pointers?: readonly string[];
  /** Fields that hold descriptors. */
  readonly fds?: readonly string[];
  /** Fields that are structures of which more is known than their layout. */
  readonly inner?: (value: AnyValue) => Readonly<Record<string, StructRow>>;
  /**
   * Fields that say nothing in this structure: members of a union that another one has taken, counts of what is shown
   * itself.
   */
  readonly hidden?: (value: AnyValue) => readonly string[];
  /** What stands in the structure's flexible part. */
  readonly behind?: (value: AnyValue) => Behind | undefined;
  /** All of it in one word, in the place of its fields. */
  readonly text?: (value: AnyValue) => string;
}

/** What stands behind a structure, from its end on. */
export type Behind = { readonly field: string } & (
  | { readonly kind: "struct"; readonly struct: StructRow }
  | { readonly kind: "list"; readonly struct: StructRow; readonly count: number }
  | { readonly kind: "fds"; readonly count: number }
  | { readonly kind: "bytes"; readonly count: number }
  /** A chain of capabilities; `first` is where it begins, from the structure's start. */
  | { readonly kind: "capabilities"; readonly first: number; readonly known: readonly CapabilityRow[] }
);

/** A capability: its number and what the chain calls it. The structure begins with its header. */
export interface CapabilityRow {
  readonly id: number;
  readonly name: string;
  readonly struct: StructRow;
}

/**
 * One request of an API, for whoever looks at calls from outside: messages, traces, replays, faults, docs/errors.md.
 */
export interface RequestRow {
  /** In the plain encoding (ioctl.ts). */
  readonly number: number;
  /** As the header calls it. */
  readonly name: string;
  /** `fd`: an int with a descriptor in it. */
  readonly argument: "struct" | "value" | "string" | "fd" | "none";
  /** Of an argument that is one. */
  readonly struct?: StructRow;
  /** Names of an argument that is a value. */
  readonly values?: ReadonlyMap<number, string>;
  /** The field that a new descriptor comes back in, where it is not the call's value. */
  readonly outFd?: string;
  /** The fields with the IOVA range that the request is about. */
  readonly range?: { readonly iova: string; readonly length: string };
  /** The proposal that has it; left out for requests of mainline. */
  readonly proposal?: string;
}

/** The number with its name: `{ VFIO_DEVICE_RESET }`. */
type Named = Readonly<Record<string, number>>;

function named(constant: Named): { readonly name: string; readonly number: number } {
  const [name, number] = Object.entries(constant)[0]!;
  return { name, number };
}

/** A request without an argument. */
export function plain(constant: Named): RequestRow {
  return { ...named(constant), argument: "none" };
}

/** A request whose argument is a number. */
export function ofValue(constant: Named, values?: ReadonlyMap<number, string>): RequestRow {
  return { ...named(constant), argument: "value", ...(values && { values }) };
}

/** A request whose argument points at a name, or at a descriptor. */
export function ofPointer(constant: Named, argument: "string" | "fd"): RequestRow {
  return { ...named(constant), argument };
}

/** A request whose argument points at a structure. */
export function ofStruct(
  constant: Named,
  layout: AnyLayout,
  struct: Omit<StructRow, "layout"> = {},
  rest: Pick<RequestRow, "outFd" | "range" | "proposal"> = {},
): RequestRow {
  return { ...named(constant), argument: "struct", struct: { layout, ...struct }, ...rest };
}

/** The constants whose names begin with `prefix`, by value, with the rest of their names. */
export function pick(constants: object, prefix: string, except?: RegExp): ReadonlyMap<number, string> {
  return new Map(
    Object.entries(constants).flatMap(([name, value]) =>
      typeof value === "number" && name.startsWith(prefix) && !except?.test(name)
        ? [[value, name.slice(prefix.length)] as const]
        : [],
    ),
  );
}

export function flags(constants: object, prefix: string, except?: RegExp): FieldNames {
  return { kind: "flags", names: pick(constants, prefix, except) };
}

export function values(constants: object, prefix: string, except?: RegExp): FieldNames {
  return { kind: "values", names: pick(constants, prefix, except) };
}
