import { hex } from "../../kernel/errors.ts";
import { type ParsedCapability, parseCapabilityChain } from "../../uapi/capability-chain.ts";
import { viewOf } from "../../uapi/layout.ts";
import * as device from "../../uapi/vfio-device.ts";
import { VFIO_DEVICE_FEATURE_MASK } from "../../uapi/vfio-feature.ts";
import * as type1 from "../../uapi/vfio-type1.ts";
import type { Relocation } from "../replay/recording.ts";
import { type FieldNames, fdArray, type RequestFacts, requestFacts } from "../requests.ts";

/** A field as JSON has it: 64-bit numbers and addresses are hexadecimal texts, sets of flags are lists of names. */
export type DecodedValue =
  | number
  | string
  | boolean
  | readonly DecodedValue[]
  | { readonly [field: string]: DecodedValue };
export type DecodedFields = Readonly<Record<string, DecodedValue>>;

/**
 * The fields of a request's structure with names for flags and values; undefined when nothing is known of it.
 * @param bytes of the structure, relocated fields zero
 * @param relocs what stands in those
 */
export function decodeArgument(
  request: string,
  bytes: Uint8Array,
  relocs: readonly Relocation[] = [],
): DecodedFields | undefined {
  const facts = requestFacts(request);
  if (!facts) return undefined;
  const targets = new Map(relocs.map((reloc) => [reloc.off, relocText(reloc)]));
  if (facts.argument === "fd")
    return { fd: targets.get(0) ?? (bytes.length >= 4 ? viewOf(bytes).getInt32(0, true) : "?") };
  if (facts.argument === "string") {
    const end = bytes.indexOf(0);
    return { name: new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end)) };
  }
  if (!facts.layout) return undefined;
  return { ...decodeStruct(request, facts, bytes, targets), ...decodeTail(request, facts, bytes, targets) };
}

function relocText({ buf, add = 0, fd }: Relocation): string {
  if (fd !== undefined) return fd;
  return add === 0 ? (buf ?? "?") : `${buf}+${hex(add)}`;
}

function decodeStruct(
  request: string,
  { layout, names = {} }: RequestFacts,
  bytes: Uint8Array,
  targets: ReadonlyMap<number, string>,
): DecodedFields {
  const view = viewOf(bytes);
  const out: Record<string, DecodedValue> = {};
  for (const [field, type] of Object.entries(layout!.fields)) {
    const at = layout!.offsets[field]!;
    const { size } = type as { size: number };
    if (size === 0 || at + size > bytes.length || /^(__)?(reserved|resv|pad)/.test(field)) continue;
    const value: unknown = (type as { read(view: DataView, at: number): unknown }).read(view, at);
    const target = targets.get(at);
    out[field] = target ?? fieldValue(request, field, value, names[field]);
  }
  return out;
}

const COUNTS =
  /^(argsz|size|count|num_|nr_|index|start|avail|levels|.*_id$|.*_len$|entry_num|bit_width|order|op$|fd$|iommufd$)/;

function fieldValue(request: string, field: string, value: unknown, names: FieldNames | undefined): DecodedValue {
  if (request === "VFIO_DEVICE_FEATURE" && field === "flags") return featureFlags(Number(value));
  if (names?.kind === "flags") return flagNames(BigInt(value as number), names.names);
  if (names?.kind === "values") return names.names.get(Number(value)) ?? Number(value);
  if (typeof value === "bigint") return hex(value);
  if (typeof value === "number") return COUNTS.test(field) ? value : hex(value);
  if (Array.isArray(value)) return value.map((each) => fieldValue(request, field, each, undefined));
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value).map(([name, each]) => [name, fieldValue(request, name, each, undefined)]);
    return Object.fromEntries(fields) as DecodedFields;
  }
  return String(value);
}

function flagNames(value: bigint, names: ReadonlyMap<number, string>): string[] {
  const found: string[] = [];
  let left = value;
  for (const [bit, name] of [...names].sort(([a], [b]) => a - b)) {
    if (bit === 0 || (value & BigInt(bit >>> 0)) !== BigInt(bit >>> 0)) continue;
    found.push(name);
    left &= ~BigInt(bit >>> 0);
  }
  if (left !== 0n) found.push(hex(left));
  return found;
}

function featureFlags(value: number): string[] {
  const names = new Map([
    [1 << 16, "GET"],
    [1 << 17, "SET"],
    [1 << 18, "PROBE"],
  ]);
  return [
    `feature ${value & VFIO_DEVICE_FEATURE_MASK}`,
    ...flagNames(BigInt((value & ~VFIO_DEVICE_FEATURE_MASK) >>> 0), names),
  ];
}

function decodeTail(
  request: string,
  facts: RequestFacts,
  bytes: Uint8Array,
  targets: ReadonlyMap<number, string>,
): DecodedFields {
  const view = viewOf(bytes);
  const { at, count } = fdArray(facts, bytes);
  if (count > 0) {
    const fds = Array.from({ length: count }, (_, i) => targets.get(at + 4 * i) ?? view.getInt32(at + 4 * i, true));
    return { fds };
  }
  const size = facts.layout?.size ?? 0;
  if (facts.tail === "capabilities") return decodeCapabilities(request, facts, bytes);
  if (facts.tail === "irq-fds" && bytes.length > size) {
    const flags = view.getUint32(4, true);
    return flags & device.VFIO_IRQ_SET_DATA_BOOL ? { data: [...bytes.subarray(size)] } : {};
  }
  if (facts.tail === "dirty-bitmap" && bytes.length >= size + type1.VfioIommuType1DirtyBitmapGet.size) {
    const get = type1.VfioIommuType1DirtyBitmapGet;
    const { iova, size: length, bitmap } = get.read(view, size);
    const data = targets.get(size + get.offsets.bitmap + type1.VfioBitmap.offsets.data) ?? hex(bitmap.data);
    return {
      iova: hex(iova),
      range: hex(length),
      bitmap: { pgsize: hex(bitmap.pgsize), size: hex(bitmap.size), data },
    };
  }
  const fixed = type1.VfioIommuType1DmaUnmap.size;
  if (
    facts.tail === "unmap-bitmap" &&
    bytes.length >= fixed + type1.VfioBitmap.size &&
    view.getUint32(4, true) & type1.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP
  ) {
    const bitmap = type1.VfioBitmap.read(view, fixed);
    const data = targets.get(fixed + type1.VfioBitmap.offsets.data) ?? hex(bitmap.data);
    return { bitmap: { pgsize: hex(bitmap.pgsize), size: hex(bitmap.size), data } };
  }
  return {};
}

function decodeCapabilities(request: string, { layout }: RequestFacts, bytes: Uint8Array): DecodedFields {
  const at = layout!.offsets.cap_offset;
  if (at === undefined || bytes.length < layout!.size) return {};
  const first = viewOf(bytes).getUint32(at, true);
  if (first === 0) return {};
  try {
    return { caps: parseCapabilityChain(bytes, first, layout!.size).map((each) => capability(request, each)) };
  } catch {
    // an input field that holds anything, or a chain that is cut off
    return {};
  }
}

function capability(request: string, { id, body }: ParsedCapability): DecodedValue {
  const view = viewOf(body);
  if (request === "VFIO_IOMMU_GET_INFO") {
    if (id === type1.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
      return { cap: "IOVA_RANGE", ranges: pairs(body, view.getUint32(0, true), 8, (a, b) => `${hex(a)}-${hex(b)}`) };
    }
    if (id === type1.VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION) {
      return {
        cap: "MIGRATION",
        pgsize_bitmap: hex(view.getBigUint64(8, true)),
        max_dirty_bitmap_size: hex(view.getBigUint64(16, true)),
      };
    }
    if (id === type1.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) return { cap: "DMA_AVAIL", avail: view.getUint32(0, true) };
  }
  if (request === "VFIO_DEVICE_GET_REGION_INFO") {
    if (id === device.VFIO_REGION_INFO_CAP_SPARSE_MMAP) {
      return { cap: "SPARSE_MMAP", areas: pairs(body, view.getUint32(0, true), 8, (a, b) => `${hex(a)}+${hex(b)}`) };
    }
    if (id === device.VFIO_REGION_INFO_CAP_TYPE) {
      return { cap: "TYPE", type: hex(view.getUint32(0, true)), subtype: hex(view.getUint32(4, true)) };
    }
    if (id === device.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE) return { cap: "MSIX_MAPPABLE" };
  }
  return { cap: id, bytes: Buffer.from(body).toString("hex") };
}

/** Pairs of 64-bit numbers from `start` on, as many as there are bytes for. */
function pairs(body: Uint8Array, count: number, start: number, text: (a: bigint, b: bigint) => string): string[] {
  const view = viewOf(body);
  const found: string[] = [];
  for (let i = 0, at = start; i < count && at + 16 <= body.length; i++, at += 16) {
    found.push(text(view.getBigUint64(at, true), view.getBigUint64(at + 8, true)));
  }
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

function valueText(name: string, value: DecodedValue): string {
  if (Array.isArray(value)) {
    if (name === "flags" || name === "out_capabilities") return value.length === 0 ? "0" : value.join("|");
    return `[${value.map((each) => valueText("", each)).join(", ")}]`;
  }
  if (typeof value === "object") {
    const { cap, ...rest } = value as DecodedFields;
    return cap === undefined ? fieldsText(rest) : `${cap}${Object.keys(rest).length > 0 ? ` ${fieldsText(rest)}` : ""}`;
  }
  return String(value);
}
