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
  const targets = new Map(relocs.map((reloc) => [reloc.off, relocText(reloc)]));
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
  const { layout, names = {} } = struct;
  const { value, view } = readPadded(struct, bytes, at, about);
  const inner = struct.inner?.(value) ?? {};
  const hidden = new Set(struct.hidden?.(value));
  const out: Record<string, DecodedValue> = {};
  for (const [field, type] of Object.entries(layout.fields)) {
    const offset = layout.offsets[field]!;
    const { size } = type as { size: number };
    if (size === 0 || at + offset + size > bytes.length) continue;
    if (hidden.has(field) || /^(__)?(reserved|resv|pad)/.test(field)) continue;
    const known = inner[field];
    const target = about.targets.get(at + offset);
    if (target !== undefined) out[field] = target;
    else if (known) out[field] = decodeStruct(known, bytes.subarray(0, at + offset + size), at + offset, about);
    else out[field] = fieldValue(field, layout.fields[field].read(view, offset), names[field]);
  }
  const behind = struct.behind?.(value);
  const shown = behind && at + layout.size <= bytes.length ? decodeBehind(behind, struct, bytes, at, about) : undefined;
  if (shown !== undefined) out[behind!.field] = shown;
  return out;
}

/** A structure's fields, with zeros for the bytes that are not there. */
function readPadded(
  { layout }: StructRow,
  bytes: Uint8Array,
  at: number,
  { littleEndian }: Known,
): { value: object; view: StructView } {
  const padded = new Uint8Array(layout.size);
  padded.set(bytes.subarray(at, at + layout.size));
  const view = new StructView(padded, littleEndian);
  return { value: layout.read(view, 0), view };
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

function fieldValue(field: string, value: unknown, names: FieldNames | undefined): DecodedValue {
  if (names?.kind === "flags") return flagNames(BigInt(value as number), names);
  if (names?.kind === "values") return names.names.get(Number(value)) ?? Number(value);
  if (typeof value === "bigint") return hex(value);
  if (typeof value === "number") return COUNTS.test(field) ? value : hex(value);
  if (Array.isArray(value)) return value.map((each) => fieldValue(field, each, undefined));
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value).map(([name, each]) => [name, fieldValue(name, each, undefined)]);
    return Object.fromEntries(fields) as DecodedFields;
  }
  return String(value);
}

function flagNames(value: bigint, { names, low }: FieldNames): string[] {
  const found: string[] = [];
  let left = value;
  if (low) {
    const number = Number(value & BigInt(low.mask));
    found.push(low.names.get(number) ?? `${low.otherwise} ${number}`);
    left &= ~BigInt(low.mask);
  }
  for (const [bit, name] of [...names].sort(([a], [b]) => a - b)) {
    if (bit === 0 || (left & BigInt(bit >>> 0)) !== BigInt(bit >>> 0)) continue;
    found.push(name);
    left &= ~BigInt(bit >>> 0);
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
