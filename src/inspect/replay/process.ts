import { CdevFile } from "../../iommufd/cdev-file.ts";
import { fail } from "../../kernel/errors.ts";
import { type FileDescription, ForeignFile } from "../../kernel/file-description.ts";
import { PROT_EXEC, PROT_READ, PROT_WRITE } from "../../kernel/model-areas.ts";
import { EventFile } from "../../kernel/model-event.ts";
import { MemfdFile } from "../../kernel/model-memfd.ts";
import type { ModelMemory } from "../../kernel/model-memory.ts";
import { AnonymousMemory, type MemoryFile } from "../../kernel/model-pages.ts";
import { ModelTask } from "../../kernel/model-task.ts";
import { type Word, wordFromBigInt } from "../../kernel/word.ts";
import { encodeIo, plainRequest } from "../../uapi/ioctl.ts";
import { VFIO_IOMMU_MAP_DMA, VfioIommuType1DmaMap } from "../../uapi/vfio-type1.ts";
import type { Host } from "../../vfio/host.ts";
import { PciDeviceFile } from "../../vfio/pci/device-file.ts";
import { LiveFiles } from "../../vfio/sysfs.ts";
import { DONE, fromHex, type Outcome, outcomeOf, outcomeOfVoid, toHex } from "./outcome.ts";
import type { Operation, Relocation } from "./recording.ts";

/** What an operation gave, with the bytes that it left or read. */
export interface Answer extends Outcome {
  /** The caller's structure afterwards, relocated fields that did not change as zero; or what was read. */
  readonly bytes?: string;
  /** Bytes written behind the structure, if any. */
  readonly over?: string;
  readonly value?: string;
  readonly text?: string;
  readonly done?: number;
  readonly ok?: boolean;
  readonly VmLck_kB?: number;
  readonly VmPin_kB?: number;
  /** Locked memory of the process after the call. */
  readonly vmlck_kB?: number;
}

interface Buffer {
  readonly address: number;
  readonly size: number;
  /** Of a mapped device: its file, and where in it the buffer begins. */
  readonly device?: { readonly file: PciDeviceFile; readonly offset: number };
}

/** What a process has by name, for when a forked child is done. */
interface Names {
  readonly task: ModelTask;
  readonly fds: ReadonlyMap<string, number>;
  readonly buffers: ReadonlyMap<string, Buffer>;
}

/** Looks at a polled register that many times before giving up: in the model everything that it can wait for is done at once. */
const POLLS = 3;

/** The longest that is waited where time passed in a recording, in milliseconds: no device model takes longer. */
const WAIT_MAX_MS = 10;

/** Where structures are put: far from the addresses that recorded programs chose for their buffers. */
const SCRATCH_ADDRESS = 0x7000_0000_0000;

/** Bytes that lie behind a caller's structure, to see whether something is written there. */
const GUARD = 4096;
const GUARD_BYTE = 0xa5;

/** A program that makes recorded calls against the model: its memory, its descriptors by name, its rights. */
export class ReplayProcess {
  /** The process that makes the calls: the program, or a child that it forked. */
  task: ModelTask;
  readonly #host: Host;
  readonly #files: LiveFiles;
  #fds = new Map<string, number>();
  #buffers = new Map<string, Buffer>();
  /** Processes that wait for their child. */
  readonly #parents: Names[] = [];
  /** Huge pages that the machine could set aside, by their size in bytes. */
  readonly #hugePages = new Map<number, number>();
  readonly #memoryFiles = new Map<string, MemoryFile>();
  /** Two pages for structures: the second one can be taken away, for those that end where memory ends. */
  readonly #scratch: number;

  constructor(host: Host) {
    this.#host = host;
    this.#files = new LiveFiles(host);
    this.task = new ModelTask({ name: "replay", pageSize: host.description.pageSize });
    this.#openTerminal();
    this.#scratch = this.#memory.mmap({
      address: SCRATCH_ADDRESS,
      length: 2 * 65536,
      protection: PROT_READ | PROT_WRITE,
    });
  }

  /** Descriptors 0, 1 and 2 were there in the recorded program, and two for what it wrote down. They are not VFIO's. */
  #openTerminal(): void {
    const { files } = this.task;
    const fd = files.install(new ForeignFile(), false);
    for (const standard of [0, 1, 2]) files.dup2(fd, standard);
    files.dup(fd);
  }

  get #memory(): ModelMemory {
    return this.task.memory;
  }

  /** Makes the call. Undefined for what only informs. */
  run(operation: Operation): Answer | undefined {
    if (operation.injected) return undefined;
    const handler = this.#handlers[operation.op];
    if (!handler) fail("EINVAL", `unknown operation "${operation.op}" in the recording`);
    const answer = handler(operation);
    return answer && { ...answer, vmlck_kB: this.#kilobytes(this.#memory.lockedPages) };
  }

  /** The program ends: all descriptors are closed. */
  exit(): void {
    this.task.exit();
  }

  readonly #handlers: Record<string, (operation: Operation) => Answer | undefined> = {
    open: (o) => this.#installed(o.fd, () => this.#open(o)),
    close: (o) => this.#close(o),
    dup: (o) => this.#installed(o.fd, () => this.task.files.dup(this.#fd(o.of))),
    ioctl: (o) => this.#ioctl(o),
    mmap: (o) => this.#mmap(o),
    munmap: (o) => outcomeOfVoid(() => this.#memory.munmap(this.#at(o), Number(o.size))),
    mprotect: (o) => outcomeOfVoid(() => this.#memory.mprotect(this.#at(o), Number(o.size), protection(o.prot))),
    fill: (o) => this.#fill(o),
    dump: (o) => ({ ...DONE, bytes: toHex(this.#read(this.#at(o), o.len!)) }),
    r32: (o) => this.#readWord(o, 4),
    r64: (o) => this.#readWord(o, 8),
    poll64: (o) => this.#poll(o),
    eventfd: (o) => this.#installed(o.fd, () => this.task.files.install(new EventFile(), false)),
    evread: (o) => this.#readEvent(o),
    store: (o) => this.#store(o),
    w8: (o) => this.#writeWord(o, 1),
    w16: (o) => this.#writeWord(o, 2),
    w32: (o) => this.#writeWord(o, 4),
    w64: (o) => this.#writeWord(o, 8),
    pread: (o) => this.#readFile(o, true),
    read: (o) => this.#readFile(o, false),
    pwrite: (o) => this.#writeFile(o, true),
    write: (o) => this.#writeFile(o, false),
    memfd: (o) => this.#memfd(o),
    mkfile: (o) => this.#mkfile(o),
    maploop: (o) => this.#mapLoop(o),
    param: (o) => outcomeOfVoid(() => this.#files.write(o.path!, String(o.value))),
    exists: (o) => outcomeOf(() => (this.#files.exists(o.path!) ? 0 : fail("ENOENT", `no ${o.path}`))),
    readfile: (o) => this.#readText(o),
    setrlimit: (o) => outcomeOf(() => this.#setMemlock(Number(o.value))),
    setuid: (o) => this.#now(() => this.task.setuid(o.uid!)),
    dropcap: (o) => this.#now(() => this.task.capabilities.delete(o.cap!)),
    raisecap: (o) => this.#now(() => this.task.capabilities.add(o.cap!)),
    vmlck: () => ({
      ...DONE,
      VmLck_kB: this.#kilobytes(this.#memory.lockedPages),
      VmPin_kB: this.#kilobytes(this.#memory.pinnedPages),
    }),
    "child-begin": () => this.#now(() => this.#fork()),
    "child-end": () => this.#now(() => this.#wait()),
    hugepages: (o) => outcomeOf(() => this.#setHugePages(o.kB! * 1024, o.have!)),
    wait: (o) => this.#passTime(o.us!),
    host: () => undefined,
    kmsg: () => undefined,
    console: () => undefined,
    "kernel-crash": () => undefined,
    end: () => undefined,
  };

  #now(change: () => unknown): Answer {
    change();
    return DONE;
  }

  /** What follows happens in a child: the same files, other memory. */
  #fork(): void {
    this.#parents.push({ task: this.task, fds: this.#fds, buffers: this.#buffers });
    this.task = this.task.fork();
    this.#fds = new Map(this.#fds);
    this.#buffers = new Map(this.#buffers);
  }

  /** The child exits, and its parent goes on. */
  #wait(): void {
    const parent = this.#parents.pop();
    if (!parent) fail("EINVAL", "child-end without child-begin in the recording");
    this.task.exit();
    this.task = parent.task;
    this.#fds = new Map(parent.fds);
    this.#buffers = new Map(parent.buffers);
  }

  /** setrlimit() of both limits: what was given up comes back to nobody but root. */
  #setMemlock(bytes: number): number {
    if (this.task.euid !== 0 && bytes > this.task.memlock) fail("EPERM", "only root may raise its hard limit");
    this.task.memlock = bytes;
    return 0;
  }

  #kilobytes(pages: number): number {
    return (pages * this.#memory.pageSize) / 1024;
  }

  /** A call that returns a descriptor, known to the rest of the recording by name. */
  #installed(name: string | -1 | undefined, call: () => number): Answer {
    const outcome = outcomeOf(call);
    if (outcome.errno === null && typeof name === "string") this.#fds.set(name, outcome.ret);
    return outcome.errno === null ? DONE : outcome;
  }

  #open(o: Operation): number {
    if (o.path!.endsWith("/")) fail("EISDIR", `${o.path} is a directory`);
    return this.task.files.install(this.#host.open(this.task, o.path!, 2), false);
  }

  #close(o: Operation): Answer {
    return outcomeOfVoid(() => this.task.files.close(this.#fd(o.fd)));
  }

  /** The number of a named descriptor; -1 for one that could not be opened. */
  #fd(name: string | -1 | undefined): number {
    return typeof name === "string" ? (this.#fds.get(name) ?? -1) : -1;
  }

  #file(o: Operation) {
    const fd = this.#fd(o.fd);
    return this.task.files.get(fd) ?? fail("EBADF", `file descriptor ${fd} is not open`);
  }

  #buffer(name: string | undefined): Buffer {
    return this.#buffers.get(name ?? "") ?? { address: 0, size: 0 };
  }

  #at(o: Operation): number {
    return this.#buffer(o.buf).address + Number(o.off ?? 0);
  }

  #ioctl(o: Operation): Answer {
    const nr = Number(o.nr);
    // a number of the other encoding is unknown to this architecture, whatever the model would make of it
    const request = plainRequest(nr, this.#host.ioctlEncoding) ?? otherEncoding(nr);
    const call = (arg: Word) => () => this.#file(o).ioctl(this.task, request, arg);
    switch (o.arg) {
      case "bytes":
        return this.#ioctlBytes(o, call);
      case "int":
        return outcomeOf(call(wordFromBigInt(BigInt(o.val!))));
      case "buf":
        return outcomeOf(call(this.#buffer(o.buf).address));
      default:
        return outcomeOf(call(0));
    }
  }

  #ioctlBytes(o: Operation, call: (arg: Word) => () => number): Answer {
    const memory = this.#memory;
    const input = fromHex(o.in!);
    const relocated = (o.relocs ?? []).map((reloc) => ({ reloc, value: this.#relocate(input, reloc) }));
    const address = o.edge ? this.#scratch + 65536 - input.length : this.#scratch;
    memory.copyOut(this.#scratch, new Uint8Array(65536).fill(GUARD_BYTE), 65536);
    memory.copyOut(address, input, input.length);
    if (o.edge) memory.mprotect(this.#scratch + 65536, 65536, 0);
    if (o.readonly) memory.mprotect(this.#scratch, 65536, PROT_READ);
    const outcome = outcomeOf(call(address));
    memory.mprotect(this.#scratch, 2 * 65536, PROT_READ | PROT_WRITE);
    const result = this.#read(address, input.length);
    for (const { reloc, value } of relocated) {
      const field = result.subarray(reloc.off, reloc.off + reloc.w);
      if (toHex(field) === value) field.fill(0);
    }
    const name = o.ret_is_fd;
    const opened = name !== undefined && outcome.errno === null;
    if (opened) this.#fds.set(name, o.out_fd === undefined ? outcome.ret : view(result).getInt32(o.out_fd, true));
    if (opened && o.out_fd !== undefined) result.fill(0, o.out_fd, o.out_fd + 4);
    const over = o.edge ? "" : this.#overrun(address + input.length);
    return { ...outcome, ret: opened ? 0 : outcome.ret, bytes: toHex(result), ...(over && { over }) };
  }

  /** Puts an address or a descriptor number into a structure; returns its bytes. */
  #relocate(input: Uint8Array, { off, w, buf, add = 0, fd }: Relocation): string {
    const value = fd === undefined ? BigInt(this.#buffer(buf).address + add) : BigInt(this.#fd(fd));
    const field = input.subarray(off, off + w);
    const bytes = new Uint8Array(8);
    view(bytes).setBigUint64(0, BigInt.asUintN(64, value), true);
    field.set(bytes.subarray(0, w));
    return toHex(field);
  }

  #overrun(from: number): string {
    const behind = this.#read(from, GUARD);
    let end = behind.length;
    while (end > 0 && behind[end - 1] === GUARD_BYTE) end--;
    return toHex(behind.subarray(0, end));
  }

  #mmap(o: Operation): Answer {
    const outcome = outcomeOf(() => this.#map(o));
    if (outcome.errno !== null) return outcome;
    this.#buffers.set(o.buf!, { address: outcome.ret, size: Number(o.size), ...this.#mappedDevice(o) });
    if (o.fill !== undefined)
      this.#memory.copyOut(outcome.ret, new Uint8Array(Number(o.size)).fill(o.fill), Number(o.size));
    return DONE;
  }

  #map(o: Operation): number {
    const length = Number(o.size);
    const base = {
      length,
      protection: protection(o.prot),
      ...(o.addr !== undefined && { address: Number(o.addr) }),
      ...(o.huge_page_shift !== undefined && { hugePageShift: this.#reserveHuge(length, o.huge_page_shift) }),
    };
    if (o.kind === "device") {
      return this.#memory.mmap({ ...base, object: new AnonymousMemory(this.#memory.pageSize, true), shared: true });
    }
    if (o.kind === "anon") return this.#memory.mmap({ ...base, shared: o.share === "shared" });
    const object = o.kind === "file" ? this.#memoryFiles.get(o.path!) : this.#memoryFiles.get(String(o.fd));
    const offset = Number(o.offset ?? 0);
    if (object) return this.#memory.mmap({ ...base, object, offset, shared: o.share !== "private" });
    const file = this.#file(o);
    const shared = o.share !== "private";
    const request = { offset, length, read: o.prot!.includes("r"), write: o.prot!.includes("w"), shared };
    file.mmap(this.task, request);
    const mapped = file.mappedObject(request);
    if (!mapped) fail("ENODEV", "this file has no memory to map");
    return this.#memory.mmap({ ...base, ...mapped, shared: true });
  }

  #mappedDevice(o: Operation): Pick<Buffer, "device"> {
    const file = o.kind === "fd" ? this.task.files.get(this.#fd(o.fd)) : undefined;
    const device = deviceOf(file);
    return device ? { device: { file: device, offset: Number(o.offset ?? 0) } } : {};
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

  #fill(o: Operation): Answer {
    const bytes = new Uint8Array(o.len!);
    if (o.byte === "seq") for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7 + (i >> 8)) & 0xff;
    else bytes.fill(Number(o.byte));
    this.#memory.copyOut(this.#at(o), bytes, bytes.length);
    return DONE;
  }

  #readWord(o: Operation, width: 4 | 8): Answer {
    const { device } = this.#buffer(o.buf);
    device?.file.adopt(device.offset + Number(o.off ?? 0), BigInt(o.value ?? 0));
    const word = view(this.#read(this.#at(o), width));
    const value = width === 4 ? BigInt(word.getUint32(0, true)) : word.getBigUint64(0, true);
    return { ...DONE, value: `0x${value.toString(16)}` };
  }

  #poll(o: Operation): Answer {
    const mask = BigInt(o.mask!);
    const want = BigInt(o.want!);
    for (let i = 0; i < POLLS; i++) {
      const value = view(this.#read(this.#at(o), 8)).getBigUint64(0, true);
      if ((value & mask) === want) return { ...DONE, ok: true };
    }
    return { ...DONE, ok: false };
  }

  /** A read of an eventfd, which does not wait. */
  #readEvent(o: Operation): Answer {
    let value = 0n;
    const outcome = outcomeOf(() => {
      const file = this.#file(o);
      if (!(file instanceof EventFile)) fail("EINVAL", `${file.label} is no eventfd`);
      value = file.take();
      return 8;
    });
    return { ...outcome, value: value.toString() };
  }

  #writeWord(o: Operation, width: 1 | 2 | 4 | 8): Answer {
    const bytes = new Uint8Array(8);
    view(bytes).setBigUint64(0, BigInt(o.value!), true);
    this.#memory.copyOut(this.#at(o), bytes, width);
    return DONE;
  }

  /** Bytes that the program or somebody else had put there, whatever the program itself may write. */
  #store(o: Operation): undefined {
    const bytes = fromHex(o.in!);
    const at = this.#at(o);
    if (outcomeOfVoid(() => this.#memory.copyOut(at, bytes, bytes.length)).errno === null) return;
    const { pageSize } = this.#memory;
    const start = at - (at % pageSize);
    const length = at + bytes.length - start;
    this.#memory.mprotect(start, length, PROT_READ | PROT_WRITE);
    this.#memory.copyOut(at, bytes, bytes.length);
    this.#memory.mprotect(start, length, PROT_READ);
  }

  /** Devices that take time finish meanwhile what they had begun. */
  #passTime(microseconds: number): undefined {
    const milliseconds = Math.min(microseconds / 1000, WAIT_MAX_MS);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
  }

  #read(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#memory.copyIn(address, bytes, length);
    return bytes;
  }

  #readFile(o: Operation, positioned: boolean): Answer {
    const outcome = this.#access(o, positioned, (file, offset) => {
      const device = deviceOf(file);
      if (device && o.data) this.#adopt(device, Number(offset), fromHex(o.data));
      return file.read(this.task, this.#scratch, o.len!, offset);
    });
    return { ...outcome, bytes: outcome.ret > 0 ? toHex(this.#read(this.#scratch, outcome.ret)) : "" };
  }

  /** A recording begins in the middle of a machine's life: what was there before it shows in its first reads. */
  #adopt(file: PciDeviceFile, offset: number, recorded: Uint8Array): void {
    file.adoptConfig(offset, recorded);
    if (recorded.length === 4) file.adopt(offset, BigInt(view(recorded).getUint32(0, true)));
  }

  #writeFile(o: Operation, positioned: boolean): Answer {
    const input = fromHex(o.in!);
    this.#memory.copyOut(this.#scratch, input, input.length);
    return this.#access(o, positioned, (file, offset) => file.write(this.task, this.#scratch, input.length, offset));
  }

  /** An access at the offset of the call, or at the file's position, which moves on. */
  #access(o: Operation, positioned: boolean, access: (file: FileDescription, offset: Word) => number): Outcome {
    return outcomeOf(() => {
      const file = this.#file(o);
      const count = access(file, positioned ? wordFromBigInt(BigInt(o.off!)) : file.position);
      if (!positioned && !file.readiness) file.position += count;
      return count;
    });
  }

  #memfd(o: Operation): Answer {
    const memory = this.#memory.memfd(Number(o.size));
    this.#memoryFiles.set(String(o.fd), memory);
    return this.#installed(o.fd, () => this.task.files.install(new MemfdFile(memory), false));
  }

  #mkfile(o: Operation): Answer {
    const size = Number(o.size);
    const file = this.#memory.memfd(size);
    file.write(0, new Uint8Array(size).fill(Number(o.byte)));
    this.#memoryFiles.set(o.path!, file);
    return DONE;
  }

  /** MAP_DMA of the same memory at rising addresses until one fails. */
  #mapLoop(o: Operation): Answer {
    const map = VfioIommuType1DmaMap;
    const file = this.#file(o);
    const stride = BigInt(o.stride!);
    let iova = BigInt(o.iova!);
    for (let done = 0; done < o.count!; done++, iova += stride) {
      const bytes = map.encode({
        argsz: map.size,
        flags: Number(o.flags),
        vaddr: BigInt(this.#buffer(o.vaddr).address),
        iova,
        size: BigInt(o.size!),
      });
      this.#memory.copyOut(this.#scratch, bytes, bytes.length);
      const outcome = outcomeOf(() => file.ioctl(this.task, VFIO_IOMMU_MAP_DMA, this.#scratch));
      if (outcome.errno !== null) return { ...outcome, done };
    }
    return { ...DONE, done: o.count! };
  }

  #readText(o: Operation): Answer {
    let text = "";
    const outcome = outcomeOf(() => {
      text = this.#files.read(o.path!);
      return text.length;
    });
    return { ...outcome, text };
  }
}

/** The bit that tells the encodings of `_IO()` apart, the other way round. */
function otherEncoding(nr: number): number {
  return (nr ^ encodeIo(0, 0, "powerpc")) >>> 0;
}

/** The device behind a file, which may have been opened by its group or by its own node. */
function deviceOf(file: FileDescription | undefined): PciDeviceFile | undefined {
  const opened = file instanceof CdevFile ? file.opened : file;
  return opened instanceof PciDeviceFile ? opened : undefined;
}

function protection(letters: string | undefined): number {
  const has = (letter: string) => letters?.includes(letter) ?? false;
  if (letters === "none") return 0;
  return (has("r") ? PROT_READ : 0) | (has("w") ? PROT_WRITE : 0) | (has("x") ? PROT_EXEC : 0);
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
