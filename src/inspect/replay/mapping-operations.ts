import { fail } from "../../kernel/errors.ts";
import { PROT_EXEC, PROT_READ, PROT_WRITE } from "../../kernel/model-areas.ts";
import { MemfdFile } from "../../kernel/model-memfd.ts";
import { AnonymousMemory, type MemoryFile } from "../../kernel/model-pages.ts";
import type { Answer, Handlers } from "./answer.ts";
import { FILL_MAX, type OperationOf } from "./operation.ts";
import { DONE, outcomeOf, outcomeOfVoid } from "./outcome.ts";
import { type Buffer, deviceOf, type ReplayedProgram } from "./program.ts";

/** What a program maps: memory of its own, files of memory, devices; and what the machine has for that. */
export class MappingOperations {
  readonly #program: ReplayedProgram;
  /** Huge pages that the machine could set aside, by their size in bytes. */
  readonly #hugePages = new Map<number, number>();
  /** Files of memory, by path or by name of their descriptor. */
  readonly #memoryFiles = new Map<string, MemoryFile>();

  constructor(program: ReplayedProgram) {
    this.#program = program;
  }

  readonly handlers = {
    mmap: (o) => this.#mmap(o),
    munmap: (o) => outcomeOfVoid(() => this.#unmap(this.#program.at(o), Number(o.size))),
    mprotect: (o) =>
      outcomeOfVoid(() => this.#program.memory.mprotect(this.#program.at(o), Number(o.size), protection(o.prot))),
    memfd: (o) => this.#memfd(o),
    mkfile: (o) => this.#mkfile(o),
    hugepages: (o) => outcomeOf(() => this.#setHugePages(o.kB * 1024, o.have)),
  } satisfies Partial<Handlers>;

  #mmap(o: OperationOf<"mmap">): Answer {
    const outcome = outcomeOf(() => this.#map(o));
    if (outcome.errno !== null) return outcome;
    const size = Number(o.size);
    this.#program.nameBuffer(o.buf, { address: outcome.ret, size, ...this.#mappedDevice(o) });
    if (o.fill !== undefined) {
      if (size > FILL_MAX) fail("EFBIG", `${size} bytes are too many to fill`);
      this.#program.memory.copyOut(outcome.ret, new Uint8Array(size).fill(o.fill), size);
    }
    return DONE;
  }

  #map(o: OperationOf<"mmap">): number {
    const { memory, task } = this.#program;
    const length = Number(o.size);
    const base = {
      length,
      protection: protection(o.prot),
      ...(o.addr !== undefined && { address: Number(o.addr) }),
      ...(o.kind === "anon" &&
        o.huge_page_shift !== undefined && { hugePageShift: this.#reserveHuge(length, o.huge_page_shift) }),
    };
    if (o.kind === "device") {
      return memory.mmap({ ...base, object: new AnonymousMemory(memory.pageSize, true), shared: true });
    }
    if (o.kind === "anon") return memory.mmap({ ...base, shared: o.share === "shared" });
    const object = this.#memoryFiles.get(String(o.kind === "file" ? o.path : o.fd));
    const offset = Number(o.offset ?? 0);
    const shared = o.share !== "private";
    if (object) return memory.mmap({ ...base, object, offset, shared });
    if (o.kind === "file") fail("ENOENT", `the recording has made no file ${o.path}`);
    const file = this.#program.file(o);
    const request = { offset, length, read: o.prot.includes("r"), write: o.prot.includes("w"), shared };
    file.mmap(task, request);
    const mapped = file.mappedObject(request);
    if (!mapped) fail("ENODEV", "this file has no memory to map");
    const address = memory.mmap({ ...base, ...mapped, shared: true });
    this.#program.holdMapped(file, address, length);
    return address;
  }

  #unmap(address: number, size: number): void {
    this.#program.memory.munmap(address, size);
    this.#program.releaseMapped(address, size);
  }

  #mappedDevice(o: OperationOf<"mmap">): Pick<Buffer, "device"> {
    if (o.kind !== "fd") return {};
    const device = deviceOf(this.#program.task.files.get(this.#program.fd(o.fd)));
    return device ? { device: { file: device, offset: Number(o.offset ?? 0) } } : {};
  }

  #memfd(o: OperationOf<"memfd">): Answer {
    const memory = this.#program.memory.memfd(Number(o.size));
    this.#memoryFiles.set(String(o.fd), memory);
    return this.#program.installed(o.fd, () => this.#program.task.files.install(new MemfdFile(memory), false));
  }

  #mkfile(o: OperationOf<"mkfile">): Answer {
    const size = Number(o.size);
    const file = this.#program.memory.memfd(size);
    file.write(0, new Uint8Array(size).fill(Number(o.byte)));
    this.#memoryFiles.set(o.path, file);
    return DONE;
  }

  /** How many huge pages the machine had to give is a fact about it; none at all of a size it does not know. */
  #setHugePages(bytes: number, count: number): number {
    if (count < 0) fail("ENOENT", `the machine has no huge pages of ${bytes} bytes`);
    this.#hugePages.set(bytes, count);
    return 0;
  }

  /** Takes the huge pages of a mapping from what the machine could set aside. EINVAL, ENOMEM. */
  #reserveHuge(length: number, shift: number): number {
    const free = this.#hugePages.get(2 ** shift);
    if (free === undefined) fail("EINVAL", `the machine has no huge pages of ${2 ** shift} bytes`);
    const pages = length / 2 ** shift;
    if (pages > free) fail("ENOMEM", `${pages} huge pages of ${2 ** shift} bytes are needed, ${free} are free`);
    this.#hugePages.set(2 ** shift, free - pages);
    return shift;
  }
}

function protection(letters: string): number {
  const has = (letter: string) => letters.includes(letter);
  if (letters === "none") return 0;
  return (has("r") ? PROT_READ : 0) | (has("w") ? PROT_WRITE : 0) | (has("x") ? PROT_EXEC : 0);
}
