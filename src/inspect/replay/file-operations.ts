import { fail } from "../../kernel/errors.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import { EventFile } from "../../kernel/model-event.ts";
import { type Word, wordFromBigInt } from "../../kernel/word.ts";
import { viewOf } from "../../uapi/layout.ts";
import type { PciDeviceFile } from "../../vfio/pci/device-file.ts";
import { LiveFiles } from "../../vfio/sysfs.ts";
import type { Answer, Handlers } from "./answer.ts";
import type { OperationOf } from "./operation.ts";
import { fromHex, type Outcome, outcomeOf, outcomeOfVoid, toHex } from "./outcome.ts";
import { deviceOf, type ReplayedProgram } from "./program.ts";

/** Opening, reading, writing and closing of files: VFIO's, eventfds, and those of sysfs and of module parameters. */
export function fileOperations(program: ReplayedProgram) {
  const live = new LiveFiles(program.host);
  return {
    open: (o) => program.installed(o.fd, () => open(program, o)),
    close: (o) => outcomeOfVoid(() => program.task.files.close(program.fd(o.fd))),
    dup: (o) => program.installed(o.fd, () => program.task.files.dup(program.fd(o.of))),
    pread: (o) => readFile(program, o, true),
    read: (o) => readFile(program, o, false),
    pwrite: (o) => writeFile(program, o, true),
    write: (o) => writeFile(program, o, false),
    eventfd: (o) => program.installed(o.fd, () => program.task.files.install(new EventFile(), false)),
    evread: (o) => readEvent(program, o),
    param: (o) => outcomeOfVoid(() => live.write(o.path, String(o.value))),
    exists: (o) => outcomeOf(() => (live.exists(o.path) ? 0 : fail("ENOENT", `no ${o.path}`))),
    readfile: (o) => readText(live, o),
  } satisfies Partial<Handlers>;
}

function open(program: ReplayedProgram, o: OperationOf<"open">): number {
  if (o.path.endsWith("/")) fail("EISDIR", `${o.path} is a directory`);
  return program.task.files.install(program.host.open(program.task, o.path, 2), false);
}

function readFile(program: ReplayedProgram, o: OperationOf<"pread" | "read">, positioned: boolean): Answer {
  const outcome = access(program, o, positioned, (file, offset) => {
    const device = deviceOf(file);
    if (device && o.data) adopt(device, Number(offset), fromHex(o.data));
    return file.read(program.task, program.scratch, o.len, offset);
  });
  return { ...outcome, bytes: outcome.ret > 0 ? toHex(program.read(program.scratch, outcome.ret)) : "" };
}

/** A recording begins in the middle of a machine's life: what was there before it shows in its first reads. */
function adopt(file: PciDeviceFile, offset: number, recorded: Uint8Array): void {
  file.adoptConfig(offset, recorded);
  if (recorded.length === 4) file.adopt(offset, BigInt(viewOf(recorded).getUint32(0, true)));
}

function writeFile(program: ReplayedProgram, o: OperationOf<"pwrite" | "write">, positioned: boolean): Answer {
  const { task, scratch } = program;
  const input = fromHex(o.in);
  program.memory.copyOut(scratch, input, input.length);
  return access(program, o, positioned, (file, offset) => file.write(task, scratch, input.length, offset));
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
    const count = make(file, positioned && "off" in o ? wordFromBigInt(BigInt(o.off)) : file.position);
    if (!positioned && !file.readiness) file.position += count;
    return count;
  });
}

/** A read of an eventfd, which does not wait. */
function readEvent(program: ReplayedProgram, o: OperationOf<"evread">): Answer {
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
  return { ...outcome, text };
}
