import { Host } from "../../../src/host/host.ts";
import { PROT_READ, PROT_WRITE } from "../../../src/kernel/model-areas.ts";
import { EventFile } from "../../../src/kernel/model-event.ts";
import { VFIO_DEVICE_SET_IRQS, VfioIrqSet } from "../../../src/uapi/vfio-device.ts";
import { readBundle } from "../../recordings/bundle.ts";
import { Program, type Result } from "../program.ts";

export const CONFIG = 7 * 2 ** 40;
export const REGION = 2 ** 40;

const DATA = { none: 1, bool: 2, eventfd: 4 } as const;
const ACTION = { mask: 8, unmask: 16, trigger: 32 } as const;

const INTEL39 = readBundle("intel39").host;

/** The machine intel39 of the recordings. */
export function intelHost(onWarning?: (message: string) => void): Host {
  return new Host(INTEL39, onWarning ? { onWarning } : {});
}

/** The devices of the recorded x86 machines with their groups. */
export const DEVICES = {
  edu: { group: 2, name: "0000:00:04.0" },
  otherEdu: { group: 3, name: "0000:00:05.0" },
  nvme: { group: 8, name: "0000:01:00.0" },
  nic: { group: 9, name: "0000:02:00.0" },
  testdev: { group: 10, name: "0000:04:02.0" },
} as const;

/** A program that has one device open. */
export class DeviceProgram extends Program {
  readonly containerFd: Result;
  readonly group: Result;
  readonly device: Result;
  readonly #buffer: number;

  constructor(which: keyof typeof DEVICES, host = intelHost()) {
    super(host);
    const { group, name } = DEVICES[which];
    const opened = this.container(group);
    this.containerFd = opened.container;
    this.group = opened.group;
    this.device = this.deviceFd(this.group, name);
    if (typeof this.device === "string") throw new Error(`no device: ${this.device} ${this.reason}`);
    this.#buffer = this.memory(65536);
  }

  pread(offset: number, length: number): Uint8Array | string {
    const result = this.attempt(() => this.file.read(this.task, this.#buffer, length, offset));
    if (typeof result === "string") return result;
    const bytes = new Uint8Array(result);
    this.task.memory.copyIn(this.#buffer, bytes, result);
    return bytes;
  }

  pwrite(offset: number, bytes: Uint8Array): Result {
    this.task.memory.copyOut(this.#buffer, bytes, bytes.length);
    return this.attempt(() => this.file.write(this.task, this.#buffer, bytes.length, offset));
  }

  get file() {
    return this.task.files.get(Number(this.device))!;
  }

  /** A little-endian number of config space. */
  config(offset: number, width: 1 | 2 | 4): number {
    const bytes = this.pread(CONFIG + offset, width);
    if (typeof bytes === "string") throw new Error(`${bytes}: ${this.reason}`);
    return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
  }

  setConfig(offset: number, width: 1 | 2 | 4, value: number): Result {
    return this.pwrite(
      CONFIG + offset,
      Uint8Array.from({ length: width }, (_, i) => (value >>> (i * 8)) & 0xff),
    );
  }

  eventfd(): { readonly fd: number; readonly file: EventFile } {
    const file = new EventFile();
    return { fd: this.task.files.install(file, false), file };
  }

  setIrqs(
    index: number,
    action: keyof typeof ACTION,
    data: keyof typeof DATA,
    start: number,
    count: number,
    values: readonly number[] = [],
  ): Result {
    const width = data === "eventfd" ? 4 : data === "bool" ? 1 : 0;
    const bytes = VfioIrqSet.encode({ flags: DATA[data] | ACTION[action], index, start, count }, values.length * width);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, bytes.length, true);
    values.forEach((value, i) => {
      if (width === 4) view.setInt32(20 + i * 4, value, true);
      else if (width === 1) view.setUint8(20 + i, value);
    });
    return this.ioctlBytes(this.device, VFIO_DEVICE_SET_IRQS, bytes);
  }

  /** Maps a region and returns its address. */
  mapRegion(offset: number, length: number): number {
    const request = { offset, length, read: true, write: true, shared: true };
    this.file.mmap(this.task, request);
    const mapped = this.file.mappedObject(request)!;
    return this.task.memory.mmap({ length, protection: PROT_READ | PROT_WRITE, ...mapped, shared: true });
  }

  peek(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.task.memory.copyIn(address, bytes, length);
    return bytes;
  }

  poke(address: number, bytes: Uint8Array): void {
    this.task.memory.copyOut(address, bytes, bytes.length);
  }

  poke32(address: number, value: number): void {
    this.poke(address, new Uint8Array(new Uint32Array([value]).buffer));
  }

  poke64(address: number, value: bigint): void {
    this.poke(address, new Uint8Array(new BigUint64Array([value]).buffer));
  }
}
