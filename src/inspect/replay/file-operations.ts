import { LiveFiles } from "../../host/sysfs/live-files.ts";
import { fail } from "../../kernel/errors.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import { PROT_NONE, PROT_READ, PROT_WRITE } from "../../kernel/model-areas.ts";
import { EventFile } from "../../kernel/model-event.ts";
import { type Word, wordFromBigInt } from "../../kernel/word.ts";
import { roundUp, viewOf } from "../../uapi/layout.ts";
import type { PciDeviceFile } from "../../vfio/pci/device-file.ts";
import type { Answer, Handlers } from "./answer.ts";
import type { OperationOf } from "./operation.ts";
import { DONE, fromHex, type Outcome, outcomeOf, outcomeOfVoid, toHex } from "./outcome.ts";
import { deviceOf, POLLS, type ReplayedProgram } from "./program.ts";

/** <asm-generic/poll.h> */
const POLLIN = 1;
const POLLOUT = 4;

/** Opening, reading, writing and closing of files: VFIO's, eventfds, and those of sysfs and of module parameters. */
export function fileOperations(program: ReplayedProgram) {
  const live = new LiveFiles(program.host);
  return {
    open: (o) => program.installed(o.fd, () => open(program, o)),
    close: (o) => outcomeOfVoid(() => program.close(o.fd)),
    dup: (o) => program.installed(o.fd, () => program.task.files.dup(program.fd(o.of))),
    pread: (o) => readFile(program, o, true),
    read: (o) => (o.buf === undefined ? readFile(program, o, false) : readInto(program, { ...o, buf: o.buf })),
    pollfd: (o) => pollFile(program, o),
    pwrite: (o) => writeFile(program, o, true),
    write: (o) => writeFile(program, o, false),
    eventfd: (o) => program.installed(o.fd, () => program.task.files.install(new EventFile(), false)),
    evread: (o) => waitForEvent(program, o, o.errno === null),
    evwait: (o) => ({ ...DONE, fired: waitForEvent(program, o, o.fired !== false).errno === null }),
    preadloop: (o) => readRepeatedly(program, o),
    poll32: (o) => pollRegister(program, o),
    param: (o) => outcomeOfVoid(() => live.write(o.path, String(o.value))),
    exists: (o) => outcomeOf(() => (live.exists(o.path) ? 0 : fail("ENOENT", `no ${o.path}`))),
    readfile: (o) => readText(live, o),
    readhex: (o) => readBytes(live, o),
    readlink: (o) => readLink(live, o),
    listdir: (o) => listDirectory(live, o),
  } satisfies Partial<Handlers>;
}

function open(program: ReplayedProgram, o: OperationOf<"open">): number {
  return program.task.files.install(program.host.open(program.task, o.path, 2), false);
}

function readFile(program: ReplayedProgram, o: OperationOf<"pread" | "read">, positioned: boolean): Answer {
  return withBuffer(program, o.len, o.op === "pread" ? o.fault : undefined, (buffer) => {
    const outcome = access(program, o, positioned, (file, offset) => {
      const device = deviceOf(file);
      if (device && o.data) adopt(device, Number(offset), fromHex(o.data));
      return file.read(program.task, buffer, o.len, offset);
    });
    const isCompared = outcome.ret > 0 && o.data !== undefined;
    return { ...outcome, bytes: isCompared ? toHex(program.read(buffer, outcome.ret)) : "" };
  });
}

/** A read into memory that the program looks at itself. */
function readInto(program: ReplayedProgram, o: OperationOf<"read"> & { readonly buf: string }): Answer {
  return access(program, o, false, (file, offset) => file.read(program.task, program.at(o), o.len, offset));
}

/** What poll() tells of a file that can be waited for. */
function pollFile(program: ReplayedProgram, o: OperationOf<"pollfd">): Answer {
  let revents = 0;
  // poll() passes over a descriptor of -1
  if (program.fd(o.fd) < 0) return { ...DONE, revents: "0x0" };
  const outcome = outcomeOf(() => {
    const file = program.file(o);
    const ready = file.readiness ?? fail("EINVAL", `${file.label} cannot be waited for`);
    revents = (ready.isReadable ? POLLIN : 0) | (ready.isWritable ? POLLOUT : 0);
    return revents ? 1 : 0;
  });
  return { ...outcome, revents: `0x${revents.toString(16)}` };
}

/** A recording begins in the middle of a machine's life: what was there before it shows in its first reads. */
function adopt(file: PciDeviceFile, offset: number, recorded: Uint8Array): void {
  file.adoptConfig(offset, recorded);
  if (recorded.length === 4) file.adopt(offset, BigInt(viewOf(recorded).getUint32(0, true)));
}

function writeFile(program: ReplayedProgram, o: OperationOf<"pwrite" | "write">, positioned: boolean): Answer {
  const input = fromHex(o.in);
  const count = o.op === "pwrite" ? (o.len ?? input.length) : input.length;
  const fault = o.op === "pwrite" ? o.fault : undefined;
  return withBuffer(program, count, fault, (buffer) => {
    const held = Math.min(input.length, fault ?? count);
    program.memory.copyOut(buffer, input, held);
    return access(program, o, positioned, (file, offset) => file.write(program.task, buffer, count, offset));
  });
}

/**
 * Makes an access with a buffer of its own, behind which no memory is.
 * @param fault how much of it there is; all of it when left out
 */
function withBuffer(
  program: ReplayedProgram,
  count: number,
  fault: number | undefined,
  make: (buffer: number) => Answer,
): Answer {
  const { memory } = program;
  const there = fault ?? count;
  const length = roundUp(there, memory.pageSize) + memory.pageSize;
  const start = memory.mmap({ length, protection: PROT_READ | PROT_WRITE });
  const end = start + length - memory.pageSize;
  memory.mprotect(end, memory.pageSize, PROT_NONE);
  try {
    return make(end - there);
  } finally {
    memory.munmap(start, length);
  }
}

/** An access at the offset of the call, or at the file's position, which moves on. */
function access(
  program: ReplayedProgram,
  o: OperationOf<"pread" | "read" | "pwrite" | "write">,
  positioned: boolean,
  make: (file: FileDescription, offset: Word) => number,
): Outcome {
  return outcomeOf(() => {
    const file = program.file(o);
    if (positioned && file.readiness && !program.isTraced)
      fail("ESPIPE", `${file.label} is read and written without an offset`);
    const count = make(file, positioned && "off" in o ? wordFromBigInt(BigInt(o.off)) : file.position);
    if (!positioned && !file.readiness) file.position += count;
    return count;
  });
}

/** Reads one place after the other until one fails. */
function readRepeatedly(program: ReplayedProgram, o: OperationOf<"preadloop">): Answer {
  const { fd, count, size } = o;
  let bytes = "";
  let done = 0;
  let last: Outcome = DONE;
  for (; done < count; done++) {
    const off = `0x${(BigInt(o.off) + BigInt(done * size)).toString(16)}`;
    const data = o.data?.slice(2 * size * done, 2 * size * (done + 1));
    const answer = readFile(program, { op: "pread", fd, off, len: size, ...(data !== undefined && { data }) }, true);
    last = answer;
    if (answer.ret !== size) break;
    bytes += answer.bytes ?? "";
  }
  return { ...last, bytes, done };
}

/** Reads a register until it is as wanted. */
function pollRegister(program: ReplayedProgram, o: OperationOf<"poll32">): Answer {
  const [mask, want] = [BigInt(o.mask), BigInt(o.want)];
  let value = 0n;
  for (let i = 0; i < POLLS; i++) {
    const answer = readFile(program, { op: "pread", fd: o.fd, off: o.off, len: 4, data: "" }, true);
    if (answer.errno !== null) break;
    value = BigInt(viewOf(fromHex(answer.bytes ?? "")).getUint32(0, true));
    if ((value & mask) === want) return { ...DONE, ok: true, value: `0x${value.toString(16)}` };
    program.pass(o.ok !== false);
  }
  return { ...DONE, ok: false, value: `0x${value.toString(16)}` };
}

/** A read of an eventfd by a program that looks again after some time. */
function waitForEvent(program: ReplayedProgram, o: OperationOf<"evread" | "evwait">, comes: boolean): Answer {
  const first = readEvent(program, o);
  if (first.errno !== "EAGAIN") return first;
  program.pass(comes);
  return readEvent(program, o);
}

/** A read of an eventfd, which does not wait. */
function readEvent(program: ReplayedProgram, o: OperationOf<"evread" | "evwait">): Answer {
  let value = 0n;
  const outcome = outcomeOf(() => {
    const file = program.file(o);
    if (!(file instanceof EventFile)) fail("EINVAL", `${file.label} is no eventfd`);
    value = file.take();
    return 8;
  });
  return { ...outcome, value: value.toString() };
}

function readText(live: LiveFiles, o: OperationOf<"readfile">): Answer {
  let text = "";
  const outcome = outcomeOf(() => {
    text = live.read(o.path);
    return text.length;
  });
  // what was recorded is a C string
  return { ...outcome, text: text.replace(/\0.*$/s, "") };
}

function readBytes(live: LiveFiles, o: OperationOf<"readhex">): Answer {
  let bytes = "";
  const outcome = outcomeOf(() => {
    const content = Buffer.from(live.read(o.path), "latin1");
    bytes = toHex(content);
    return content.length;
  });
  return { ...outcome, bytes };
}

/** The last part of what a link leads to. */
function readLink(live: LiveFiles, o: OperationOf<"readlink">): Answer {
  let text = "";
  const outcome = outcomeOfVoid(() => {
    text = live.linkName(o.path);
  });
  return { ...outcome, text };
}

/** The sorted names in a directory. */
function listDirectory(live: LiveFiles, o: OperationOf<"listdir">): Answer {
  let text = "";
  const outcome = outcomeOfVoid(() => {
    text = live.list(o.path).join(" ");
  });
  return { ...outcome, text };
}
