import { hex, hexRange } from "../../kernel/errors.ts";
import type { ModelCall } from "../watch/watcher.ts";

export type IoctlCall = Extract<ModelCall, { op: "ioctl" }>;
/** The numbers in a request's structure. */
export type Fields = Readonly<Record<string, bigint>>;

/** What a call is about, behind its name: ", iova 0x10000-0x10fff". */
export function detail(call: ModelCall, fields: Fields): string {
  if (call.op === "pwrite" || call.op === "pread") return ` on ${call.file!.label} at ${hex(call.offset)}`;
  if (call.op === "close") return ` of ${call.file!.label}`;
  const range = call.op === "ioctl" ? call.file!.dialect.row(call.request)?.range : undefined;
  const first = range && fields[range.iova];
  const length = range && fields[range.length];
  if (first === undefined || length === undefined || length === 0n)
    return call.op === "ioctl" ? ` on ${call.file!.label}` : "";
  return `, iova ${hexRange(first, first + length - 1n)}`;
}

/** The numbers in the structure of a request that maps or unmaps, as they are now; empty for other requests. */
export function readFields(call: IoctlCall): Fields {
  const row = call.file!.dialect.row(call.request);
  const layout = row?.struct?.layout;
  if (!layout || !/MAP|DESTROY/.test(row.name)) return {};
  const bytes = new Uint8Array(layout.size);
  try {
    call.task!.memory.copyIn(call.arg, bytes, bytes.length);
  } catch {
    return {};
  }
  const entries = Object.entries(layout.decode(bytes, call.task!.memory.littleEndian)).flatMap(([field, value]) =>
    typeof value === "number" || typeof value === "bigint" ? [[field, BigInt(value)] as const] : [],
  );
  return Object.fromEntries(entries);
}
