import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { endianness } from "node:os";
import type { Word } from "../kernel/word.ts";
import { koffi } from "../native/koffi.ts";
import { ERRNO, errnoName } from "../uapi/errno.ts";
import { decodeIo, encodeIo, type IoctlEncoding } from "../uapi/ioctl.ts";
import { roundUp } from "../uapi/layout.ts";
import { OpenEventFd } from "./event-fd.ts";
import {
  type AccessWidth,
  checkAccess,
  type EventFd,
  type MapFile,
  type Mapping,
  type Memory,
  SystemCallError,
  type Transport,
} from "./transport.ts";

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_ANONYMOUS = 0x20;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
const MADV_DONTNEED = 4;
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const COUNTER_SIZE = 8;
const SC_PAGESIZE = 30;
const CREATE_MODE = 0o600;

/** Architectures of Node whose kernel counts "no direction" as 1 (see uapi/ioctl.ts). */
const POWERPC_LIKE: readonly string[] = ["ppc", "ppc64", "mips", "mipsel"];

/** The C library's calls. ioctl() and open() are variadic in C; these architectures pass the third argument alike. */
function loadCalls() {
  const libc = koffi.load(null);
  return {
    open: libc.func("int open(const char *path, int flags, int mode)"),
    close: libc.func("int close(int fd)"),
    ioctlPointer: libc.func("ioctl", "int", ["int", "ulong", "void *"]),
    ioctlValue: libc.func("ioctl", "int", ["int", "ulong", "ulong"]),
    pread: libc.func("int64_t pread(int fd, void *buffer, size_t count, int64_t offset)"),
    pwrite: libc.func("int64_t pwrite(int fd, const void *buffer, size_t count, int64_t offset)"),
    mmap: libc.func("uintptr_t mmap(uintptr_t address, size_t length, int prot, int flags, int fd, int64_t offset)"),
    munmap: libc.func("int munmap(uintptr_t address, size_t length)"),
    madvise: libc.func("int madvise(uintptr_t address, size_t length, int advice)"),
    eventfd: libc.func("int eventfd(unsigned int initval, int flags)"),
    read: libc.func("int64_t read(int fd, void *buffer, size_t count)"),
    write: libc.func("int64_t write(int fd, const void *buffer, size_t count)"),
    sysconf: libc.func("long sysconf(int name)"),
  };
}

/** Real system calls, for the kernel that this process runs on or whatever answers in its place (`uvfio run`). */
export class SystemTransport implements Transport {
  readonly littleEndian = endianness() === "LE";
  private readonly calls = loadCalls();
  private readonly pageSize = Number(this.calls.sysconf(SC_PAGESIZE));
  private readonly encoding: IoctlEncoding = POWERPC_LIKE.includes(process.arch) ? "powerpc" : "plain";

  open(path: string, flags: number): number {
    return this.checked(`open ${path}`, this.calls.open(path, flags, CREATE_MODE), openHint(path));
  }

  close(fd: number): void {
    this.checked(`close ${fd}`, this.calls.close(fd));
  }

  ioctl(
    fd: number,
    request: number,
    arg: number | Uint8Array | string,
    name = `ioctl 0x${request.toString(16)}`,
  ): number {
    const decoded = decodeIo(request);
    const number = decoded === undefined ? request : encodeIo(decoded.type, decoded.nr, this.encoding);
    if (typeof arg === "number") return this.checked(name, this.calls.ioctlValue(fd, number, arg));
    const bytes = typeof arg === "string" ? Buffer.from(`${arg}\0`) : arg;
    return this.checked(name, this.calls.ioctlPointer(fd, number, bytes));
  }

  pread(fd: number, into: Uint8Array, offset: Word): number {
    return this.checked(`pread ${fd}`, Number(this.calls.pread(fd, into, into.length, offset)));
  }

  pwrite(fd: number, from: Uint8Array, offset: Word): number {
    return this.checked(`pwrite ${fd}`, Number(this.calls.pwrite(fd, from, from.length, offset)));
  }

  allocate(size: number): Memory {
    const length = roundUp(size, this.pageSize);
    const result = this.calls.mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const address = BigInt.asUintN(64, BigInt(result));
    if (address === MAP_FAILED) throw new SystemCallError(`mmap of ${length} bytes`, koffi.errno());
    // Not munmap(): JavaScript may still have the buffer, and a touch of it would end the process.
    const free = () => {
      this.checked(`madvise of ${length} bytes`, this.calls.madvise(address, length, MADV_DONTNEED));
    };
    return { address, bytes: new Uint8Array(koffi.view(address, length)), free, [Symbol.dispose]: free };
  }

  eventfd(): EventFd {
    const fd = this.checked("eventfd", this.calls.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const counter = new BigUint64Array(1);
    return new OpenEventFd(fd, {
      take: () => {
        const count = Number(this.calls.read(fd, counter, COUNTER_SIZE));
        if (count < 0 && koffi.errno() === ERRNO.EAGAIN) return 0n;
        this.checked(`read ${fd}`, count);
        return counter[0]!;
      },
      add: (count) => {
        counter[0] = count;
        this.checked(`write ${fd}`, Number(this.calls.write(fd, counter, COUNTER_SIZE)));
      },
      close: () => this.close(fd),
    });
  }

  mmap(fd: number, request: MapFile): Mapping {
    const { offset, length, read = true, write = true } = request;
    const protection = (read ? PROT_READ : 0) | (write ? PROT_WRITE : 0);
    const result = this.calls.mmap(0, length, protection, MAP_SHARED, fd, offset);
    const address = BigInt.asUintN(64, BigInt(result));
    if (address === MAP_FAILED) throw new SystemCallError(`mmap of ${length} bytes`, koffi.errno());
    return new MappedFile(koffi.view(address, length), () => {
      this.checked(`munmap of ${length} bytes`, this.calls.munmap(address, length));
    });
  }

  readlink(path: string): string {
    try {
      return readlinkSync(path);
    } catch (error) {
      const { errno = -ERRNO.EIO } = error as NodeJS.ErrnoException;
      throw new SystemCallError(`readlink ${path}`, -errno);
    }
  }

  exists(path: string): boolean {
    return existsSync(path);
  }

  list(path: string): readonly string[] {
    try {
      return readdirSync(path);
    } catch {
      return [];
    }
  }

  private checked(call: string, result: number, hint?: (code: string) => string | undefined): number {
    if (result >= 0) return result;
    const errno = koffi.errno();
    throw new SystemCallError(call, errno, hint?.(errnoName(errno)));
  }
}

/** Typed arrays over the mapping: an element is one load or store of its width. */
class MappedFile implements Mapping {
  readonly length: number;
  private readonly unmapPages: () => void;
  /** By width; empty after unmap(), so that nothing touches what is gone. */
  private views: Readonly<Record<AccessWidth, Uint8Array | Uint16Array | Uint32Array | BigUint64Array>> | undefined;

  constructor(buffer: ArrayBuffer, unmapPages: () => void) {
    this.length = buffer.byteLength;
    this.unmapPages = unmapPages;
    this.views = {
      1: new Uint8Array(buffer),
      2: new Uint16Array(buffer, 0, Math.floor(buffer.byteLength / 2)),
      4: new Uint32Array(buffer, 0, Math.floor(buffer.byteLength / 4)),
      8: new BigUint64Array(buffer, 0, Math.floor(buffer.byteLength / 8)),
    };
  }

  read(offset: number, width: AccessWidth): bigint {
    return BigInt(this.view(offset, width)[offset / width]!);
  }

  write(offset: number, width: AccessWidth, value: bigint): void {
    const view = this.view(offset, width);
    const bits = BigInt.asUintN(width * 8, value);
    if (view instanceof BigUint64Array) view[offset / width] = bits;
    else view[offset / width] = Number(bits);
  }

  unmap(): void {
    if (this.views === undefined) return;
    this.views = undefined;
    this.unmapPages();
  }

  [Symbol.dispose](): void {
    this.unmap();
  }

  private view(offset: number, width: AccessWidth) {
    if (this.views === undefined) throw new TypeError("the mapping was taken away");
    checkAccess(this, offset, width);
    return this.views[width];
  }
}

/** What a failed open() of a VFIO node usually means. */
function openHint(path: string): (code: string) => string | undefined {
  return (code) => {
    if (!path.startsWith("/dev/vfio/")) return undefined;
    if (code === "ENOENT") return "no such node: is a VFIO driver bound, and its module loaded?";
    if (code === "EACCES") return "the node is not accessible to this user";
    if (code === "EBUSY") return "another process has the group open";
    return undefined;
  };
}
