import {
  anything,
  bytes,
  count,
  errno,
  type FieldCheck,
  type FieldsOf,
  failingField,
  fdName,
  flag,
  integer,
  limit,
  listOf,
  offset,
  optional,
  record,
  type Shape,
  scalar,
  text,
  upTo,
  word,
} from "./field-checks.ts";
import { shown } from "./shown.ts";

/** The most bytes that one operation fills or compares. */
export const FILL_MAX = 64 * 2 ** 20;
/** The most calls that one operation stands for. */
const CALLS_MAX = 2 ** 20;
/** The most processes that a recording has. */
const PROCESSES_MAX = 65536;
/** The kernel reads and writes no more in one call. */
const ACCESS_MAX = 0x7fff_f000;

/** A place in a caller's structure that holds an address or a descriptor, whose number differs from run to run. */
const relocation = record("a relocation", {
  off: upTo(2 ** 20),
  w: upTo(8),
  buf: optional(text),
  add: optional(integer),
  fd: optional(fdName),
  /** The number of a descriptor that is not open. */
  closed: optional(flag),
});
export type Relocation = typeof relocation extends FieldCheck<infer T> ? T : never;

/** What every operation may have: how it ended, and what traces say of it (docs/trace.md) for people and filters. */
const COMMON = {
  ret: optional(integer),
  errno: optional(errno),
  reason: optional(text),
  us: optional(count),
  /** When it was over: microseconds since the trace began. */
  at: optional(count),
  /** Which of the recorded processes made it, from 1; the first when left out. */
  process: optional(upTo(PROCESSES_MAX)),
  pid: optional(count),
  tid: optional(count),
  num: optional(integer),
  num_ret: optional(integer),
  /** The failure was ordered (--fault): the model was not asked. */
  injected: optional(flag),
  put_off: optional(flag),
  /** Locked memory of the process after the call. */
  vmlck_kB: optional(count),
};

/** A descriptor that came back in a structure, and where. */
const returnedFd = record("a returned descriptor", { off: upTo(2 ** 20), w: upTo(8), fd: text });

const IOCTL = {
  fd: fdName,
  req: optional(text),
  /** What `req` is a request of (uapi/requests). Traces from before it was written down do not have it. */
  dialect: optional(text),
  nr: word,
  ret_is_fd: optional(text),
};

const MMAP = {
  buf: text,
  size: offset,
  prot: text,
  share: optional(text),
  fill: optional(upTo(255)),
  addr: optional(offset),
};

/** `fault`: so many bytes of the caller's buffer can be accessed, and the next one cannot. */
const ACCESS = { fd: fdName, fault: optional(upTo(ACCESS_MAX)) };

const AT = { buf: text, off: optional(offset) };

/** Operations that come in kinds, told apart by a field of theirs: `arg` of an ioctl. */
interface Variants {
  readonly by: string;
  readonly kinds: Readonly<Record<string, Shape>>;
}

/** The operations whose fields `by` tells. */
const VARIANTS = {
  ioctl: {
    by: "arg",
    kinds: {
      none: IOCTL,
      null: IOCTL,
      int: { ...IOCTL, val: word },
      buf: { ...IOCTL, buf: text },
      bytes: {
        ...IOCTL,
        in: bytes,
        len: optional(count),
        out: optional(bytes),
        over: optional(bytes),
        relocs: optional(listOf(relocation)),
        edge: optional(flag),
        readonly: optional(flag),
        /** Memory is read-only from this offset of the structure on, where a page begins. */
        readonly_from: optional(upTo(2 ** 16)),
        /** The descriptor that `ret_is_fd` names came back in the structure, at this offset. */
        out_fd: optional(upTo(2 ** 20)),
        /** The same with names: descriptors that came back in the structure, which are zero in `out`. */
        out_fds: optional(listOf(returnedFd)),
        fields: optional(anything),
        changed: optional(anything),
      },
    },
  },
  mmap: {
    by: "kind",
    kinds: {
      anon: { ...MMAP, huge_page_shift: optional(upTo(40)) },
      device: MMAP,
      fd: { ...MMAP, fd: fdName, offset: optional(word) },
      file: { ...MMAP, path: text, offset: optional(word) },
    },
  },
} as const satisfies Record<string, Variants>;

/** All other operations. */
const SHAPES = {
  open: { fd: optional(fdName), path: text, flags: optional(text) },
  close: { fd: fdName },
  dup: { fd: fdName, of: fdName },
  eventfd: { fd: fdName },
  memfd: { fd: fdName, size: offset },
  munmap: { ...AT, size: offset },
  mprotect: { ...AT, size: offset, prot: text },
  fill: { ...AT, len: upTo(FILL_MAX), byte: scalar },
  dump: { ...AT, len: upTo(FILL_MAX), data: bytes },
  store: { buf: text, off: offset, in: bytes },
  put: { buf: text, off: offset, in: bytes },
  r32: { ...AT, value: word },
  r64: { ...AT, value: word },
  w8: { ...AT, value: word },
  w16: { ...AT, value: word },
  w32: { ...AT, value: word },
  w64: { ...AT, value: word },
  poll64: { ...AT, mask: word, want: word, ok: optional(flag) },
  poll32: { fd: fdName, off: word, mask: word, want: word, ok: optional(flag), value: optional(word) },
  pread: { ...ACCESS, off: word, len: upTo(ACCESS_MAX), data: optional(bytes) },
  /** Into a buffer of the program's, or one of its own whose bytes are `data`. */
  read: { fd: fdName, len: upTo(ACCESS_MAX), data: optional(bytes), buf: optional(text), off: optional(offset) },
  pwrite: { ...ACCESS, off: word, in: bytes, len: optional(upTo(ACCESS_MAX)) },
  write: { fd: fdName, in: bytes },
  /** The same read so many times, one behind the other. */
  preadloop: {
    fd: fdName,
    off: word,
    count: upTo(CALLS_MAX),
    size: upTo(FILL_MAX),
    done: optional(count),
    data: optional(bytes),
  },
  /** Waits for something to read, then asks what there is: POLLIN and POLLOUT. */
  pollfd: { fd: fdName, revents: optional(word) },
  evread: { fd: fdName, value: optional(word) },
  /** Whether an eventfd was raised, where how often is not known. */
  evwait: { fd: fdName, fired: optional(flag) },
  maploop: {
    fd: fdName,
    iova: word,
    count: upTo(CALLS_MAX),
    stride: word,
    size: word,
    flags: count,
    vaddr: text,
    done: optional(count),
  },
  unmaploop: { fd: fdName, iova: word, count: upTo(CALLS_MAX), stride: word, size: word, done: optional(count) },
  mkfile: { path: text, size: upTo(FILL_MAX), byte: upTo(255) },
  readfile: { path: text, text: optional(text) },
  readlink: { path: text, text: optional(text) },
  readhex: { path: text, data: optional(bytes) },
  listdir: { path: text, text: optional(text) },
  exists: { path: text },
  param: { path: text, value: scalar },
  setrlimit: { which: optional(text), value: limit, soft: optional(flag) },
  setuid: { uid: count },
  dropcap: { cap: upTo(63) },
  raisecap: { cap: upTo(63) },
  hugepages: { kB: upTo(2 ** 40), have: integer },
  vmlck: { VmLck_kB: optional(count), VmPin_kB: optional(count) },
  wait: { us: count },
  work: { pieces: count },
  host: {
    name: text,
    version: count,
    machine: optional(text),
    kernel: optional(text),
    api: optional(text),
    argv: optional(listOf(text)),
  },
  "child-begin": {},
  "child-end": {},
  note: { text: optional(text) },
  kmsg: { lines: optional(listOf(text)) },
  console: { lines: optional(listOf(text)), text: optional(text) },
  end: {},
  "kernel-crash": {},
} as const satisfies Record<string, Shape>;

type Common = FieldsOf<typeof COMMON>;
type OfShape<Op extends keyof typeof SHAPES> = Op extends unknown
  ? { readonly op: Op } & Common & FieldsOf<(typeof SHAPES)[Op]>
  : never;
type IoctlOf<Arg extends keyof typeof VARIANTS.ioctl.kinds> = Arg extends unknown
  ? { readonly op: "ioctl"; readonly arg: Arg } & Common & FieldsOf<(typeof VARIANTS.ioctl.kinds)[Arg]>
  : never;
type MmapOf<Kind extends keyof typeof VARIANTS.mmap.kinds> = Kind extends unknown
  ? { readonly op: "mmap"; readonly kind: Kind } & Common & FieldsOf<(typeof VARIANTS.mmap.kinds)[Kind]>
  : never;

/** One recorded operation: what `op` says decides which fields it has (oracle/README.md, docs/trace.md). */
export type Operation =
  | OfShape<keyof typeof SHAPES>
  | IoctlOf<keyof typeof VARIANTS.ioctl.kinds>
  | MmapOf<keyof typeof VARIANTS.mmap.kinds>;
export type OperationOf<Op extends Operation["op"]> = Extract<Operation, { readonly op: Op }>;
export type BytesIoctl = IoctlOf<"bytes">;

/** Whether a call was made with a structure, or another argument that is told byte by byte. */
export function isBytesIoctl(operation: Operation): operation is BytesIoctl {
  return operation.op === "ioctl" && operation.arg === "bytes";
}

/** Lines that somebody wrote beside the calls: they end in no way. */
export const MESSAGES: ReadonlySet<string> = new Set(["kmsg", "console", "note"]);

/** The shapes with COMMON in them, ready for checks. */
const CHECKS: ReadonlyMap<string, Shape> = new Map(
  Object.entries(SHAPES).map(([op, shape]) => [op, { op: text, ...(MESSAGES.has(op) ? {} : COMMON), ...shape }]),
);
const VARIANT_CHECKS: ReadonlyMap<string, { readonly by: string; readonly kinds: ReadonlyMap<string, Shape> }> =
  new Map(
    Object.entries(VARIANTS).map(([op, { by, kinds }]) => [
      op,
      {
        by,
        kinds: new Map(
          Object.entries<Shape>(kinds).map(([kind, shape]) => [kind, { op: text, [by]: text, ...COMMON, ...shape }]),
        ),
      },
    ]),
  );

/**
 * What a parsed line of a recording is: the operation, or what is wrong with it. Fields that no operation of that kind
 * has are taken away: nobody looks at them.
 */
export function checkOperation(line: unknown): Operation | string {
  const op = typeof line === "object" && line !== null && Object.hasOwn(line, "op") ? (line as { op: unknown }).op : 0;
  if (typeof op !== "string") return 'no "op" field; this is no recording of calls';
  const fields = line as Record<string, unknown>;
  const variants = VARIANT_CHECKS.get(op);
  const shape = variants ? variants.kinds.get(String(fields[variants.by])) : CHECKS.get(op);
  if (!shape) {
    if (!variants) return `unknown operation "${shown(op)}"`;
    const kinds = [...variants.kinds.keys()].join(", ");
    return `${op} has no field "${variants.by}" that is one of ${kinds}`;
  }
  const name = failingField(fields, shape);
  if (name !== undefined) {
    return fields[name] === undefined
      ? `${op} has no field "${name}"`
      : `the field "${name}" of ${op} is not ${shape[name]!.what}`;
  }
  for (const field of Object.keys(fields)) if (!Object.hasOwn(shape, field)) delete fields[field];
  return fields as unknown as Operation;
}
