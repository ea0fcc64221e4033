import { hex } from "../../kernel/errors.ts";
import { printable } from "../../kernel/printable.ts";
import { parseCapabilityChain } from "../../uapi/capability-chain.ts";
import type { Behind, FieldNames, RequestRow, StructRow } from "../../uapi/requests/request-row.ts";
import { StructView } from "../../uapi/struct-view.ts";
import type { Relocation } from "../replay/operation.ts";
import { cut } from "../replay/shown.ts";

/** A field as JSON has it: 64-bit numbers and addresses are hexadecimal texts, sets of flags are lists of names. */
export type DecodedValue =
  | number
  | string
  | boolean
  | readonly DecodedValue[]
  | { readonly [field: string]: DecodedValue };
export type DecodedFields = Readonly<Record<string, DecodedValue>>;

/** What is known of an argument beside its bytes. */
interface Known {
  /** Names of addresses and descriptors by where in the argument they stand. */
  readonly targets: ReadonlyMap<number, string>;
  /** The byte order of the program. */
  readonly littleEndian: boolean;
}

/**
 * What a structure is read from that is no part of another: a view of its own bytes takes as long as all the rest. Of
 * one at a time.
 */
const ROOM_SIZE = 512;
const room = new Uint8Array(ROOM_SIZE);
const roomView = new StructView(room, true);

const NO_TARGETS: ReadonlyMap<number, string> = new Map();

/** Of a list that a program makes as long as it likes, so many are shown. */
const LIST_SHOWN = 64;
const NAME_SHOWN = 256;

/**
 * The fields of a request's structure with names for flags and values; undefined when nothing is known of it.
 * @param bytes of the argument, relocated fields zero
 * @param relocs what stands in those
 * @param littleEndian the byte order of the program
 */
export function decodeArgument(
  row: RequestRow | undefined,
  bytes: Uint8Array,
  relocs: readonly Relocation[] = [],
  littleEndian = true,
): DecodedFields | undefined {
  const targets = relocs.length === 0 ? NO_TARGETS : new Map(relocs.map((reloc) => [reloc.off, relocText(reloc)]));
  switch (row?.argument) {
    case "fd":
      return { fd: targets.get(0) ?? (bytes.length >= 4 ? new StructView(bytes, littleEndian).s32(0) : "?") };
    case "string":
      return { name: nameIn(bytes) };
    case "struct":
      return decodeStruct(row.struct!, bytes, 0, { targets, littleEndian });
    default:
      return undefined;
  }
}

/** A name that ends with a NUL or with the bytes, as a terminal may show it. */
export function nameIn(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return printable(cut(new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end)), NAME_SHOWN));
}

function relocText({ buf, add = 0, fd, closed }: Relocation): string {
  if (closed) return "closed";
  if (fd !== undefined) return String(fd);
  if (buf === undefined) return hex(add);
  return add === 0 ? buf : `${buf}+${hex(add)}`;
}

/** The fields of a structure that lies at `at`; those that the bytes do not reach are left out. */
function decodeStruct(struct: StructRow, bytes: Uint8Array, at: number, about: Known): DecodedFields {
  const { layout } = struct;
  const { value, view, isAll } = readPadded(struct, bytes, at, about);
  const inner = struct.inner?.(value);
  const hidden = struct.hidden?.(value);
  const out: Record<string, DecodedValue> = {};
  for (const { field, offset, size, shape } of shownFields(struct)) {
    if (!isAll && at + offset + size > bytes.length) continue;
    if (hidden?.includes(field)) continue;
    const known = inner?.[field];
    const target = about.targets.get(at + offset);
    if (target !== undefined) out[field] = target;
    else if (known) out[field] = decodeStruct(known, bytes.subarray(0, at + offset + size), at + offset, about);
    else out[field] = fieldValue(layout.fields[field].read(view, offset), shape);
  }
  const behind = struct.behind?.(value);
  const shown = behind && at + layout.size <= bytes.length ? decodeBehind(behind, struct, bytes, at, about) : undefined;
  if (shown !== undefined) out[behind!.field] = shown;
  return out;
}

/** A field that says something, and how its value is shown. */
interface ShownField {
  readonly field: string;
  readonly offset: number;
  readonly size: number;
  readonly shape: FieldShape;
}

/** How a value is shown: by names, as a count, else in hexadecimal. */
interface FieldShape {
  readonly isCount: boolean;
  readonly names: FieldNames | undefined;
  /** Names of single bits, the lowest first. */
  readonly bits: readonly (readonly [bit: bigint, name: string])[];
}

/** What depends on the structure alone is found out once for each: a trace has many of few. */
const shown = new WeakMap<StructRow, readonly ShownField[]>();

function shownFields(struct: StructRow): readonly ShownField[] {
  const known = shown.get(struct);
  if (known) return known;
  const { layout, names = {} } = struct;
  const made: ShownField[] = [];
  for (const [field, type] of Object.entries(layout.fields)) {
    const { size } = type as { size: number };
    if (size === 0 || /^(__)?(reserved|resv|pad)/.test(field)) continue;
    made.push({ field, offset: layout.offsets[field]!, size, shape: fieldShape(field, names[field]) });
  }
  shown.set(struct, made);
  return made;
}

function fieldShape(field: string, names: FieldNames | undefined): FieldShape {
  const bits =
    names?.kind === "flags"
      ? [...names.names].flatMap(([bit, name]) => (bit === 0 ? [] : [[BigInt(bit >>> 0), name] as const]))
      : [];
  return { isCount: COUNTS.test(field), names, bits: bits.sort(([a], [b]) => (a < b ? -1 : 1)) };
}

/** A structure's fields, with zeros for the bytes that are not there. */
function readPadded(
  { layout }: StructRow,
  bytes: Uint8Array,
  at: number,
  { littleEndian }: Known,
): { value: object; view: StructView; isAll: boolean } {
  const { size } = layout;
  const isAll = at + size <= bytes.length;
  if (at === 0 && isAll && size <= ROOM_SIZE) {
    for (let i = 0; i < size; i++) room[i] = bytes[i]!;
    roomView.littleEndian = littleEndian;
    return { value: layout.read(roomView, 0), view: roomView, isAll };
  }
  const whole = isAll ? bytes.subarray(at, at + size) : new Uint8Array(size);
  if (!isAll) whole.set(bytes.subarray(at));
  const view = new StructView(whole, littleEndian);
  return { value: layout.read(view, 0), view, isAll };
}

function decodeBehind(
  behind: Behind,
  { layout }: StructRow,
  bytes: Uint8Array,
  at: number,
  about: Known,
): DecodedValue | undefined {
  const start = at + layout.size;
  const room = bytes.length - start;
  switch (behind.kind) {
    case "struct":
      return room < 4 ? undefined : structValue(behind.struct, bytes, start, about);
    case "list":
      return list(behind.count, behind.struct.layout.size, room, (offset) =>
        structValue(behind.struct, bytes, start + offset, about),
      );
    case "fds": {
      const view = new StructView(bytes, about.littleEndian);
      const fd = (offset: number) => about.targets.get(start + offset) ?? view.s32(start + offset);
      return behind.count === 0 ? undefined : list(behind.count, 4, room, fd);
    }
    case "bytes":
      return room === 0 ? undefined : list(behind.count, 1, room, (offset) => bytes[start + offset]!);
    case "capabilities":
      return decodeCapabilities(behind, layout.size, bytes, about);
  }
}

function structValue(struct: StructRow, bytes: Uint8Array, at: number, about: Known): DecodedValue {
  if (struct.text && at + struct.layout.size <= bytes.length)
    return struct.text(readPadded(struct, bytes, at, about).value);
  return decodeStruct(struct, bytes, at, about);
}

/** Things of `size` bytes side by side, as many as there is room for. */
function list(count: number, size: number, room: number, each: (offset: number) => DecodedValue): DecodedValue[] {
  const there = Math.min(count, Math.floor(room / size));
  const shown = Array.from({ length: Math.min(there, LIST_SHOWN) }, (_, i) => each(i * size));
  return there > LIST_SHOWN ? [...shown, `... ${there - LIST_SHOWN} more`] : shown;
}

function decodeCapabilities(
  { first, known }: Extract<Behind, { kind: "capabilities" }>,
  fixedSize: number,
  bytes: Uint8Array,
  about: Known,
): DecodedValue | undefined {
  if (first === 0) return undefined;
  try {
    return parseCapabilityChain(bytes, first, fixedSize, about.littleEndian).map(({ id, offset, body }) => {
      const row = known.find((capability) => capability.id === id);
      if (!row) return { cap: id, bytes: cut(Buffer.from(body).toString("hex"), 2 * LIST_SHOWN) };
      const end = body.byteOffset - bytes.byteOffset + body.length;
      const { header: _header, ...fields } = decodeStruct(row.struct, bytes.subarray(0, end), offset, about);
      return { cap: row.name, ...fields };
    });
  } catch {
    // an input field that holds anything, or a chain that is cut off
    return undefined;
  }
}

const COUNTS =
  /^(argsz|size|count|num_|nr_|index|start|avail|levels|.*_id$|.*_len$|entry_num|bit_width|order|op$|fd$|.*_fd$|.*eventfd$|iommufd$|addr_width|.*_bits$|version)/;

function fieldValue(value: unknown, shape: FieldShape): DecodedValue {
  const { names, isCount } = shape;
  if (names?.kind === "flags") return flagNames(BigInt(value as number), names, shape);
  if (names?.kind === "values") return names.names.get(Number(value)) ?? Number(value);
  if (typeof value === "bigint") return hex(value);
  if (typeof value === "number") return isCount ? value : hex(value);
  if (Array.isArray(value)) return value.map((each) => fieldValue(each, shape));
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value).map(([name, each]) => [name, fieldValue(each, fieldShape(name, undefined))]);
    return Object.fromEntries(fields) as DecodedFields;
  }
  return String(value);
}

function flagNames(value: bigint, { low }: FieldNames, { bits }: FieldShape): string[] {
  const found: string[] = [];
  let left = value;
  if (low) {
    const number = Number(value & BigInt(low.mask));
    found.push(low.names.get(number) ?? `${low.otherwise} ${number}`);
    left &= ~BigInt(low.mask);
  }
  for (const [bit, name] of bits) {
    if ((left & bit) !== bit) continue;
    found.push(name);
    left &= ~bit;
  }
  if (left !== 0n) found.push(hex(left));
  return found;
}

/** What a call changed: the fields of `after` that are not as they were. */
export function changedFields(before: DecodedFields | undefined, after: DecodedFields | undefined): DecodedFields {
  if (!after) return {};
  const changed = Object.entries(after).filter(
    ([name, value]) => JSON.stringify(value) !== JSON.stringify(before?.[name]),
  );
  return Object.fromEntries(changed);
}

/** Fields as strace writes them: {argsz=32, flags=READ|WRITE, ...}. */
export function fieldsText(fields: DecodedFields): string {
  return `{${Object.entries(fields)
    .map(([name, value]) => `${name}=${valueText(name, value)}`)
    .join(", ")}}`;
}

/** Fields that are sets of names. */
const SETS = /^(flags|out_capabilities|cache|caches|scope|hints|features)$/;

function valueText(name: string, value: DecodedValue): string {
  if (Array.isArray(value)) {
    if (SETS.test(name)) return value.length === 0 ? "0" : value.join("|");
    return `[${value.map((each) => valueText("", each)).join(", ")}]`;
  }
  if (typeof value === "object") {
    const { cap, ...rest } = value as DecodedFields;
    return cap === undefined ? fieldsText(rest) : `${cap}${Object.keys(rest).length > 0 ? ` ${fieldsText(rest)}` : ""}`;
  }
  return String(value);
}
