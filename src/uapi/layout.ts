/**
 * A small language for the structures that cross the system-call boundary: name the fields in order, get the offsets,
 * the size and a codec out. The rules are those of the System V ABI for LP64: a field is aligned to its own size, the
 * structure to its widest field. Numbers are in the byte order of the caller (StructView).
 */
import { StructView } from "./struct-view.ts";

/** One scalar, or an array of scalars, or a nested structure. */
export interface FieldType<T> {
  /** Bytes the field takes. A flexible array member takes none. */
  readonly size: number;
  readonly align: number;
  /** C spelling, for the documentation and the comparison against the kernel's header. */
  readonly spelling: string;
  /** The earlier field whose place this one shares (a member of an anonymous union). */
  readonly over?: string;
  read(view: StructView, at: number): T;
  write(view: StructView, at: number, value: T): void;
}

type Fields = Record<string, FieldType<unknown>>;
/** The decoded form of a structure. */
export type Decoded<F extends Fields> = { [K in keyof F]: ReturnType<F[K]["read"]> };
/** What a program hands in: fields left out are zero. */
export type Partially<F extends Fields> = Partial<Decoded<F>>;

export const u8: FieldType<number> = {
  size: 1,
  align: 1,
  spelling: "__u8",
  read: (view, at) => view.u8(at),
  write: (view, at, value) => view.setU8(at, value),
};

export const u16: FieldType<number> = {
  size: 2,
  align: 2,
  spelling: "__u16",
  read: (view, at) => view.u16(at),
  write: (view, at, value) => view.setU16(at, value),
};

export const u32: FieldType<number> = {
  size: 4,
  align: 4,
  spelling: "__u32",
  read: (view, at) => view.u32(at),
  write: (view, at, value) => view.setU32(at, value),
};

export const s32: FieldType<number> = {
  size: 4,
  align: 4,
  spelling: "__s32",
  read: (view, at) => view.s32(at),
  write: (view, at, value) => view.setS32(at, value),
};

/** 64 bits: a bigint, because an address can have all of them. Hot paths read the two halves instead. */
export const u64: FieldType<bigint> = {
  size: 8,
  align: 8,
  spelling: "__u64",
  read: (view, at) => view.u64(at),
  write: (view, at, value) => view.setU64(at, value),
};

/** u64 as headers spell it where a 32-bit x86 would align it to 4 only. The same on LP64. */
export const alignedU64: FieldType<bigint> = { ...u64, spelling: "__aligned_u64" };

/** A user address that the header declares as a pointer. */
export function pointer(target: string): FieldType<bigint> {
  return { ...u64, spelling: `${target} *` };
}

/**
 * Another member of an anonymous union: lies where the earlier field `over` does. Decoding gives both; encoding writes
 * the members that are given, in the order given.
 */
export function overlay<T>(over: string, type: FieldType<T>): FieldType<T> {
  return {
    size: type.size,
    align: type.align,
    spelling: type.spelling,
    over,
    read: (view, at) => type.read(view, at),
    write: (view, at, value) => type.write(view, at, value),
  };
}

/** A fixed-size array of `count` elements. */
export function array<T>(element: FieldType<T>, count: number): FieldType<T[]> {
  return {
    size: element.size * count,
    align: element.align,
    spelling: `${element.spelling}[${count}]`,
    read: (view, at) => Array.from({ length: count }, (_, i) => element.read(view, at + i * element.size)),
    write: (view, at, value) => {
      for (let i = 0; i < count; i++) element.write(view, at + i * element.size, value[i]!);
    },
  };
}

/** A flexible array member: it only marks where the variable part begins and how it is aligned. */
export function flexible(element: { size: number; align: number; spelling: string }): FieldType<undefined> {
  return {
    size: 0,
    align: element.align,
    spelling: `${element.spelling}[]`,
    read: () => undefined,
    write: () => {},
  };
}

/** A structure: its fields' offsets, its size and its codec. Usable as a field of another structure. */
export class Layout<F extends Fields> implements FieldType<Decoded<F>> {
  readonly name: string;
  readonly fields: F;
  readonly size: number;
  readonly align: number;
  readonly offsets: { readonly [K in keyof F]: number };
  readonly spelling: string;

  constructor(name: string, fields: F, kind: "struct" | "union" = "struct") {
    let end = 0;
    let align = 1;
    const offsets: Record<string, number> = {};
    for (const [field, type] of Object.entries(fields)) {
      const at = kind === "union" ? 0 : type.over === undefined ? roundUp(end, type.align) : offsets[type.over];
      if (at === undefined) throw new Error(`${name}.${field} lies over ${type.over}, which is not an earlier field`);
      if (at % type.align !== 0) throw new Error(`${name}.${field} would be misaligned over ${type.over}`);
      offsets[field] = at;
      end = Math.max(end, at + type.size);
      align = Math.max(align, type.align);
    }
    this.name = name;
    this.spelling = `${kind} ${name}`;
    this.fields = fields;
    this.align = align;
    this.size = roundUp(end, align);
    this.offsets = offsets as { [K in keyof F]: number };
  }

  /** The offset just behind a field: the kernel's offsetofend(), which is what "minimum size" means in VFIO. */
  endOf(field: keyof F): number {
    return this.offsets[field] + this.fields[field]!.size;
  }

  read(view: StructView, at: number): Decoded<F> {
    const out: Record<string, unknown> = {};
    for (const field of Object.keys(this.fields)) {
      out[field] = this.fields[field]!.read(view, at + this.offsets[field]!);
    }
    return out as Decoded<F>;
  }

  write(view: StructView, at: number, value: Partially<F>): void {
    for (const [field, item] of Object.entries(value)) {
      if (item !== undefined) this.fields[field]!.write(view, at + this.offsets[field]!, item);
    }
  }

  /** Reads the structure from the start of `bytes`; throws a RangeError when they are too few. */
  decode(bytes: Uint8Array, littleEndian = true): Decoded<F> {
    return this.read(new StructView(bytes, littleEndian), 0);
  }

  /** The structure's bytes with `extra` zero bytes behind it for a flexible array member. */
  encode(value: Partially<F>, extra = 0, littleEndian = true): Uint8Array {
    const bytes = new Uint8Array(this.size + extra);
    this.write(new StructView(bytes, littleEndian), 0, value);
    return bytes;
  }
}

export function struct<F extends Fields>(name: string, fields: F): Layout<F> {
  return new Layout(name, fields);
}

/** A union: every field lies at its start. Decoding gives all of them, encoding writes those that are given. */
export function union<F extends Fields>(name: string, fields: F): Layout<F> {
  return new Layout(name, fields, "union");
}

/**
 * A DataView over exactly the bytes of `bytes`: for what is little-endian on every machine. Structures of callers have
 * a StructView.
 */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
