import type { Host } from "../../../src/host/host.ts";
import { PROT_NONE, PROT_READ, PROT_WRITE } from "../../../src/kernel/model-areas.ts";
import { EventFile } from "../../../src/kernel/model-event.ts";
import { MemfdFile } from "../../../src/kernel/model-memfd.ts";
import { wordFromBigInt } from "../../../src/kernel/word.ts";
import { viewOf } from "../../../src/uapi/layout.ts";
import type { RequestRow } from "../../../src/uapi/requests/request-row.ts";
import { VFIO_GROUP_GET_DEVICE_FD, VFIO_SET_IOMMU } from "../../../src/uapi/vfio.ts";
import { Program } from "../../vfio/program.ts";

/** A reproducible sequence of numbers (mulberry32). */
export function sequence(seed: number): { below(limit: number): number; of<T>(items: readonly T[]): T } {
  let state = seed >>> 0;
  const below = (limit: number) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
  return { below, of: (items) => items[below(items.length)]! };
}

const PAGE = 4096;
/** Of the descriptors that were made, those that are used: the last ones. */
const LATEST = 24;
/** Pages of the memory that the program plays with. */
const PAGES = 16;
/** Addresses that no program has memory at, or that no processor has. */
const ODD_ADDRESSES = [
  1n,
  0x10n,
  0x7fff_ffff_f000n,
  1n << 47n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 64n) - 8n,
  (1n << 64n) - 1n,
];
const ODD_NUMBERS = [
  0n,
  1n,
  2n,
  3n,
  7n,
  8n,
  0xffn,
  0xfffn,
  0x1000n,
  0x1001n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  1n << 40n,
  (1n << 63n) - 1n,
  (1n << 64n) - 0x1000n,
  (1n << 64n) - 1n,
];

/** Makes calls with edge cases of every kind on every kind of descriptor, by the rows of what each file speaks. */
export class RandomCaller {
  readonly program: Program;
  readonly #random: ReturnType<typeof sequence>;
  readonly #paths: readonly string[];
  readonly #devices: readonly string[];
  /** Descriptors that are or were open. */
  readonly #fds: number[] = [];
  readonly #memory: number;
  calls = 0;

  constructor(host: Host, seed: number) {
    this.program = new Program(host, { name: "caller" });
    this.#random = sequence(seed);
    this.#paths = [
      ...host.deviceNodes().map(({ path }) => path),
      "/dev/vfio/vfio",
      "/dev/vfio/vfio",
      "/dev/vfio/vfio",
      "/dev/vfio/999",
      "/dev/vfio/",
      "/dev/vfio/devices/vfio99",
    ];
    this.#devices = host.description.groups.flatMap(({ devices }) =>
      devices.map((device) => (device.bus === "pci" ? device.bdf : device.uuid)),
    );
    this.#memory = this.program.task.memory.mmap({ length: PAGES * PAGE, protection: PROT_READ | PROT_WRITE });
  }

  step(): void {
    const random = this.#random;
    const what = random.below(100);
    this.calls++;
    if (what < 3) this.#open();
    else if (what < 4) this.#setUp();
    else if (what < 5) this.#openForeign();
    else if (what < 6) this.#close();
    else if (what < 9) this.#changeMemory();
    else if (what < 10) this.#changeRights();
    else if (what < 22) this.#access();
    else if (what < 25) this.#mmap();
    else this.#request();
  }

  end(): void {
    this.program.task.exit();
  }

  #fd(): number {
    return this.#random.below(20) === 0 ? this.#random.of([-1, 0, 2, 99, 1023, 5000]) : this.#known();
  }

  #known(): number {
    const { length } = this.#fds;
    return length === 0 ? -1 : this.#fds[length - 1 - this.#random.below(Math.min(length, LATEST))]!;
  }

  #keep(fd: number | string): void {
    if (typeof fd === "number") this.#fds.push(fd);
  }

  #open(): void {
    this.#keep(this.program.open(this.#random.of(this.#paths)));
  }

  /** A container with a group and its IOMMU, and a device of the group: by chance alone that is rare. */
  #setUp(): void {
    const { program } = this;
    const groups = this.#paths.filter((path) => /^\/dev\/vfio\/\d+$/.test(path));
    const [container, group] = [program.open("/dev/vfio/vfio"), program.open(this.#random.of(groups))];
    this.#keep(container);
    this.#keep(group);
    if (typeof container !== "number" || typeof group !== "number") return;
    program.setContainer(group, container);
    program.ioctl(container, VFIO_SET_IOMMU, this.#random.of([1, 3, 6, 7]));
    for (const device of this.#devices) this.#keep(program.deviceFd(group, device));
  }

  #openForeign(): void {
    const { files, memory } = this.program.task;
    const file = this.#random.below(2) === 0 ? new EventFile() : new MemfdFile(memory.memfd(3 * PAGE));
    this.#keep(this.program.attempt(() => files.install(file, false)));
  }

  #close(): void {
    const fd = this.#fd();
    if (fd > 2 && this.program.task.files.get(fd)) this.program.close(fd);
  }

  #changeMemory(): void {
    const random = this.#random;
    const { memory } = this.program.task;
    const at = this.#memory + random.below(PAGES) * PAGE;
    const length = (1 + random.below(3)) * PAGE;
    const protection = random.of([PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE]);
    this.program.attempt(() => {
      const what = random.below(5);
      if (what === 0) memory.munmap(at, length);
      else if (what === 1) memory.mmap({ address: at, length, protection });
      else if (what === 2) memory.mprotect(at, length, protection);
      else this.#fill(at, length);
      return 0;
    });
  }

  #fill(at: number, length: number): void {
    const words = new Uint32Array(length / 4);
    for (let i = 0; i < words.length; i++) words[i] = this.#random.below(2 ** 32);
    this.program.task.memory.copyOut(at, new Uint8Array(words.buffer), length);
  }

  #changeRights(): void {
    const { task } = this.program;
    const random = this.#random;
    task.memlock = random.of([0, PAGE, 2 * PAGE, 8 * 2 ** 20, Number.POSITIVE_INFINITY]);
    const capability = random.of([14, 17, 21]);
    if (random.below(2) === 0) task.capabilities.add(capability);
    else task.capabilities.delete(capability);
    if (random.below(4) === 0) task.euid = random.of([0, 1000]);
  }

  /** An address for a structure or a buffer of `length` bytes, as bad as they come. */
  #address(length: number): bigint {
    const random = this.#random;
    const base = BigInt(this.#memory);
    switch (random.below(8)) {
      case 0:
        return random.of([0n, ...ODD_ADDRESSES]);
      case 1:
        // ends where a page ends, or a little before or behind
        return base + BigInt((1 + random.below(PAGES)) * PAGE - length + random.of([0, 0, 0, 1, 4, -4]));
      default:
        return base + BigInt(random.below(PAGES) * PAGE + random.of([0, 0, 8, 0x100, 0xff0, 3]));
    }
  }

  #number(): bigint {
    const random = this.#random;
    switch (random.below(4)) {
      case 0:
        return random.of(ODD_NUMBERS);
      case 1:
        return BigInt(random.below(16)) * 0x1000n;
      default:
        return BigInt(random.below(8));
    }
  }

  #access(): void {
    const random = this.#random;
    const { task } = this.program;
    const file = task.files.get(this.#fd());
    if (!file) return;
    const count = random.of([0, 1, 2, 3, 4, 8, 16, 64, 256, 4096, 0x2000, 0x20000]);
    const address = wordFromBigInt(this.#address(count));
    const region = BigInt(random.below(10)) << 40n;
    const offset = wordFromBigInt(
      random.below(10) === 0 ? random.of(ODD_NUMBERS) : region + (this.#number() % 0x1000n),
    );
    const isRead = random.below(2) === 0;
    this.program.attempt(() =>
      isRead ? file.read(task, address, count, offset) : file.write(task, address, count, offset),
    );
  }

  #mmap(): void {
    const random = this.#random;
    const { task } = this.program;
    const file = task.files.get(this.#fd());
    const offset = Number(BigInt(random.below(10)) << 40n) + random.of([0, 0, task.memory.pageSize]);
    const request = {
      offset,
      length: random.of([1, PAGE, 2 * PAGE, 2 ** 20]),
      read: random.below(4) > 0,
      write: random.below(4) > 0,
      shared: random.below(6) > 0,
    };
    if (!file) return;
    this.program.attempt(() => {
      file.mmap(task, request);
      return 0;
    });
  }

  #request(): void {
    const random = this.#random;
    const { program } = this;
    const { task } = program;
    const fd = this.#fd();
    const file = task.files.get(fd);
    if (!file) return;
    const rows = file.dialect.rows;
    const row = rows.length > 0 && random.below(15) > 0 ? random.of(rows) : undefined;
    const request = row?.number ?? random.of([0x3b64 + random.below(0x40), 0, 0x5401, 0x4004_3b64, 0x2000_3b71]);
    const bytes = this.#argument(row);
    const address = this.#address(bytes.length);
    this.program.attempt(() => {
      task.memory.copyOut(wordFromBigInt(address), bytes, bytes.length);
      return 0;
    });
    const plain = row?.argument === "value" || row?.argument === "none" ? this.#number() : address;
    const result = program.ioctl(fd, request, wordFromBigInt(random.below(30) === 0 ? this.#number() : plain));
    if (row?.number === VFIO_GROUP_GET_DEVICE_FD) this.#keep(result);
  }

  #argument(row: RequestRow | undefined): Uint8Array {
    const random = this.#random;
    if (row?.argument === "fd") return new Uint8Array(new Int32Array([this.#fd()]).buffer);
    if (row?.argument === "string") {
      const name = random.below(4) === 0 ? "nosuch\u001b[31m" : random.of(this.#devices);
      return new TextEncoder().encode(random.below(10) === 0 ? name : `${name}\0`);
    }
    const layout = row?.struct?.layout;
    const size = layout?.size ?? 16;
    const bytes = new Uint8Array(size + random.of([0, 0, 4, 16, 40, 64, 256]));
    const view = viewOf(bytes);
    for (let at = 0; at + 8 <= bytes.length; at += 8) view.setBigUint64(at, this.#number(), true);
    for (const [field, type] of Object.entries(layout?.fields ?? {})) {
      const at = layout!.offsets[field]!;
      const width = (type as { size: number }).size;
      if (width === 4) view.setUint32(at, Number(BigInt.asUintN(32, this.#fieldValue(row!, field))), true);
      if (width === 8) view.setBigUint64(at, this.#fieldValue(row!, field), true);
    }
    view.setUint32(
      0,
      random.of([bytes.length, bytes.length, bytes.length, size, size, 0, 4, size - 1, 4096, 0xffff_ffff]),
      true,
    );
    return bytes;
  }

  #fieldValue(row: RequestRow, field: string): bigint {
    const random = this.#random;
    const struct = row.struct!;
    if (struct.pointers?.includes(field)) return this.#address(random.of([8, 64, PAGE]));
    if (struct.fds?.includes(field)) return BigInt(this.#fd());
    const names = struct.names?.[field];
    if (names && random.below(8) > 0) {
      const values = [...names.names.keys()];
      const chosen = BigInt(random.of(values) >>> 0);
      return names.kind === "flags" && random.below(2) === 0 ? chosen | BigInt(random.of(values) >>> 0) : chosen;
    }
    return this.#number();
  }
}
