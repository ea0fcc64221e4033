import type { AddressSpace } from "../../src/kernel/address-space.ts";
import { fail } from "../../src/kernel/errors.ts";
import {
  type EventSignal,
  FileDescription,
  type FileKind,
  ForeignFile,
  type MmapRequest,
  type SharedMemory,
} from "../../src/kernel/file-description.ts";
import { FileIndex } from "../../src/kernel/file-index.ts";
import type { FileContent } from "../../src/kernel/file-tree.ts";
import type { DeviceNode, HostKernel } from "../../src/kernel/host-kernel.ts";
import type { Task } from "../../src/kernel/task.ts";
import type { Word } from "../../src/kernel/word.ts";

/** Requests of the tiny files, VFIO's type byte with numbers that the clients in test/clients know. */
export const REQUEST = {
  version: 0x3b64,
  extension: 0x3b65,
  getDevice: 0x3b6a,
  /** {u64 from, u64 to, u64 length}: copies inside the caller's memory through us. */
  copy: 0x3ba0,
  /** {u64 vaddr, u32 pages, u32 write, u64 budget}: pins; out {u64 charged} in place of budget. Returns the id. */
  pin: 0x3ba1,
  unpin: 0x3ba2,
  /** {u32 pin, u32 length, u64 vaddr, u64 offset}: reverses the bytes at vaddr + offset. */
  reverse: 0x3ba3,
  /** A string: its length. */
  length: 0x3ba4,
  /** {s32 euid, s32 CAP_IPC_LOCK, u64 memlock, u64 foreign locked pages} */
  whoAmI: 0x3ba5,
  /** int: 0 not open, 1 foreign, 2 event, 10 container, 11 group, 12 device */
  kindOf: 0x3ba6,
  /** int eventfd: raised once now. */
  raise: 0x3ba7,
  /** Throws what is no KernelError. */
  crash: 0x3ba8,
  /** Value: milliseconds that the host is busy. */
  sleep: 0x3ba9,
  /** {u64 offset}: the byte at offset of the device's memory. */
  peek: 0x3baa,
  /** How often a file was released so far. */
  releases: 0x3bab,
  /** A module parameter's text as a number. */
  parameter: 0x3bac,
  /** An id for the caller's address space. */
  memoryId: 0x3bad,
  /** int eventfd: counts from now on how often it is written to; -1 stops. */
  watch: 0x3bae,
  watched: 0x3baf,
} as const;

const spaces: AddressSpace[] = [];

class TinyFile extends FileDescription {
  override readonly kind: FileKind;
  override readonly label: string;
  readonly #kernel: TinyKernel;
  #memory: SharedMemory | undefined;
  #space: AddressSpace | undefined;
  #event: EventSignal | undefined;
  #stopWatching: (() => void) | undefined;
  #watched = 0;

  constructor(kernel: TinyKernel, kind: FileKind, label: string) {
    super();
    this.kind = kind;
    this.label = label;
    this.#kernel = kernel;
  }

  override attachMemory(memory: SharedMemory): void {
    this.#memory = memory;
    if (this.kind === "device") memory.write(0, Buffer.from([0xb0, 0xb1, 0xb2, 0xb3]));
  }

  /** A doorbell in region 1: 0x77 at 200 is answered with 0x88 at 201. */
  override pollMemory(): boolean {
    const byte = new Uint8Array(1);
    this.#memory?.read(2 ** 40 + 200, byte);
    if (byte[0] !== 0x77) return false;
    this.#memory?.write(2 ** 40 + 200, Buffer.from([0, 0x88]));
    return true;
  }

  override ioctl(task: Task, request: number, arg: Word): number {
    const take = (length: number) => {
      const bytes = Buffer.alloc(length);
      task.memory.copyIn(arg, bytes, length);
      return bytes;
    };
    switch (request) {
      case REQUEST.version:
        return 0;
      case REQUEST.extension:
        return arg === 1 || arg === 3 ? 1 : 0;
      case REQUEST.getDevice: {
        const name = task.memory.copyString(arg, 64);
        if (name !== "tiny") fail("ENODEV", `no device "${name}"`);
        return task.files.install(new TinyFile(this.#kernel, "device", "device tiny"), true);
      }
      case REQUEST.copy: {
        const bytes = take(24);
        const data = new Uint8Array(bytes.readUInt32LE(16));
        task.memory.copyIn(Number(bytes.readBigUInt64LE(0)), data, data.length);
        task.memory.copyOut(Number(bytes.readBigUInt64LE(8)), data, data.length);
        return data.length;
      }
      case REQUEST.pin: {
        const bytes = take(24);
        this.#space = task.memory;
        const id = task.memory.pin(
          Number(bytes.readBigUInt64LE(0)),
          bytes.readUInt32LE(8),
          bytes.readUInt32LE(12) !== 0,
          Number(bytes.readBigUInt64LE(16)),
        );
        bytes.writeBigUInt64LE(BigInt(task.memory.charged), 16);
        if (typeof arg === "number") task.memory.copyOut(arg + 16, bytes.subarray(16), 8);
        return id;
      }
      case REQUEST.unpin:
        this.#space!.unpin(Number(arg));
        return 0;
      case REQUEST.reverse: {
        const bytes = take(24);
        const data = new Uint8Array(bytes.readUInt32LE(4));
        const vaddr = Number(bytes.readBigUInt64LE(8));
        const offset = Number(bytes.readBigUInt64LE(16));
        this.#space!.readPinned(bytes.readUInt32LE(0), vaddr, offset, data);
        this.#space!.writePinned(bytes.readUInt32LE(0), vaddr, offset, data.reverse());
        return 0;
      }
      case REQUEST.length:
        return task.memory.copyString(arg, 10_000).length;
      case REQUEST.whoAmI: {
        const bytes = Buffer.alloc(24);
        bytes.writeInt32LE(task.euid, 0);
        bytes.writeInt32LE(task.capable(14) ? 1 : 0, 4);
        const limit = task.memlockLimit();
        bytes.writeBigUInt64LE(Number.isFinite(limit) ? BigInt(limit) : 0xffff_ffff_ffff_ffffn, 8);
        bytes.writeBigUInt64LE(BigInt(task.memory.foreignLockedPages()), 16);
        task.memory.copyOut(arg, bytes, bytes.length);
        return 0;
      }
      case REQUEST.kindOf: {
        const file = task.files.get(take(4).readInt32LE(0));
        if (file === undefined) return 0;
        if (file instanceof ForeignFile) {
          const event = file.event();
          event?.release();
          return event ? 2 : 1;
        }
        return 10 + ["container", "group", "device"].indexOf(file.kind);
      }
      case REQUEST.raise: {
        const file = task.files.get(take(4).readInt32LE(0));
        const event: EventSignal | undefined = file instanceof ForeignFile ? file.event() : undefined;
        if (event === undefined) fail("EINVAL", "not an eventfd");
        event.signal();
        event.release();
        return 0;
      }
      case REQUEST.crash:
        throw new TypeError("the tiny model broke");
      case REQUEST.sleep:
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(arg));
        return 0;
      case REQUEST.peek: {
        const byte = new Uint8Array(1);
        this.#memory!.read(Number(take(8).readBigUInt64LE(0)), byte);
        return byte[0]!;
      }
      case REQUEST.releases:
        return this.#kernel.releases;
      case REQUEST.parameter:
        return this.#kernel.number;
      case REQUEST.memoryId:
        if (!spaces.includes(task.memory)) spaces.push(task.memory);
        return spaces.indexOf(task.memory);
      case REQUEST.watch: {
        const file = task.files.get(take(4).readInt32LE(0));
        this.#stopWatching?.();
        if (!(file instanceof ForeignFile)) return 0;
        this.#event = file.event()!;
        this.#stopWatching = this.#event.watch!(() => {
          this.#watched++;
        });
        return 0;
      }
      case REQUEST.watched:
        return this.#watched;
      default:
        return super.ioctl(task, request, arg);
    }
  }

  /** Region reads give the region's index in every byte: 0xa0 more in its first 4 KiB, 0xc0 more behind. */
  override read(task: Task, address: Word, count: number, offset: Word): number {
    if (this.kind !== "device") return super.read(task, address, count, offset);
    const region = Math.floor(Number(offset) / 2 ** 40);
    const base = Number(offset) % 2 ** 40 < 4096 ? 0xa0 : 0xc0;
    task.memory.copyOut(address, new Uint8Array(count).fill(base + region), count);
    return count;
  }

  override write(task: Task, address: Word, count: number, offset: Word): number {
    if (this.kind !== "device") return super.write(task, address, count, offset);
    const bytes = new Uint8Array(count);
    task.memory.copyIn(address, bytes, count);
    this.#memory!.write(Number(offset), bytes);
    return count;
  }

  override mmap(task: Task, request: MmapRequest): void {
    if (this.kind !== "device") super.mmap(task, request);
    if (Number(request.offset) >= 2 * 2 ** 40) fail("EINVAL", "only regions 0 and 1 can be mapped");
  }

  override release(): void {
    this.#event?.release();
    this.#kernel.releases++;
    this.#kernel.released(this);
  }
}

export class TinyKernel implements HostKernel {
  /** Its module parameter. */
  number = 7;
  readonly files = FileIndex.of({
    grafts: [
      { directory: "/dev", hidden: ["vfio"] },
      { directory: "/sys/bus", hidden: [] },
      { directory: "/sys/module", hidden: [] },
    ],
    directories: ["/sys/bus/tiny/empty"],
    files: new Map([
      ["/proc/cmdline", { content: "tiny command line\n", mode: 0o444 }],
      ["/sys/bus/tiny/name", { content: "tiny\n", mode: 0o444 }],
      ["/sys/bus/tiny/raw", { content: new Uint8Array([0, 255, 1]), mode: 0o400 }],
      ["/sys/module/tiny/parameters/number", this.#parameter()],
    ]),
    links: new Map([["/sys/bus/tiny/link", "name"]]),
  });
  releases = 0;
  #group: TinyFile | undefined;

  #parameter(): FileContent {
    const kernel = this;
    return {
      get content() {
        return `${kernel.number}\n`;
      },
      mode: 0o644,
      write: (text) => {
        if (!/^\d+\n?$/.test(text)) fail("EINVAL", `"${text}" is no number`);
        this.number = Number(text);
      },
    };
  }

  deviceNodes(): readonly DeviceNode[] {
    return [
      { path: "/dev/vfio/vfio", major: 10, minor: 196, mode: 0o666 },
      { path: "/dev/vfio/12", major: 240, minor: 3, mode: 0o600 },
    ];
  }

  open(task: Task, path: string, _flags: number): FileDescription {
    if (path === "/dev/vfio/vfio") return new TinyFile(this, "container", "container");
    // As a model does that knows nothing of the node's owner.
    if (task.euid !== 0 && !task.capable(1)) fail("EACCES", "only root opens groups");
    if (this.#group !== undefined) fail("EBUSY", "group 12 is open already");
    this.#group = new TinyFile(this, "group", "group 12");
    return this.#group;
  }

  released(file: TinyFile): void {
    if (file === this.#group) this.#group = undefined;
  }
}
