import { peekNumber, pokeNumber } from "./area.ts";
import type { TenantProcess } from "./machine.ts";

/** How a device is told to make a request. */
export interface Request {
  /** Undefined: without one. */
  readonly pasid: number | undefined;
  /** Through the device's own TLB; only PCI devices have one. */
  readonly ats: boolean;
  /** The driver of a mediated device copies (vfio_dma_rw), or pins a page and uses that (vfio_pin_pages); the IOMMU is not asked. */
  readonly byDriver: false | "copy" | "pin";
}

/** A way between a device and a word of its process's memory that is known to work: a PCI device's buffer cannot be seen otherwise. */
export interface Carrier {
  readonly request: Request;
  /** The word as the device knows it. */
  readonly at: number;
  /** The same word as the process knows it. */
  readonly memory: number;
}

export type DeviceKind = "pci" | "backed" | "plain";

const REGION = 2 ** 40;
const CONFIG = 7 * REGION;
const COMMAND = 4;
const MASTER_AND_MEMORY = 6;

/** edu (docs/vsva.md). */
const EDU = { source: 0x80, destination: 0x88, count: 0x90, run: 0x98, pasid: 0xa0, result: 0xa8, buffer: 0x4_0000 };
const [EDU_READ, EDU_WRITE] = [1, 3];
const PASID_ENABLE = 2 ** 31;
const PASID_ATS = 2 ** 30;

/** The mediated sample device (docs/sample-mdev.md). */
const SAMPLE = { command: 0x08, status: 0x0c, iova: 0x10, count: 0x18, flags: 0x1c, pasid: 0x34, buffer: 2 * REGION };
const [PIN, UNPIN] = [1, 2];
/** Reading and writing, by way. */
const COMMANDS = { iommu: [8, 9], copy: [6, 7], pin: [4, 5] } as const;
const WORD = 8;

const bytes8 = new Uint8Array(8);
const view8 = new DataView(bytes8.buffer);
const bytes4 = new Uint8Array(4);
const view4 = new DataView(bytes4.buffer);

/** A device's file, driven by its registers: it moves words between memory and its buffer. */
export class DmaDevice {
  readonly fd: number;
  readonly #process: TenantProcess;
  readonly #kind: DeviceKind;
  #register = -1;
  #count = 0;

  constructor(process: TenantProcess, fd: number, kind: DeviceKind) {
    this.#process = process;
    this.fd = fd;
    this.#kind = kind;
    const master = new Uint8Array([MASTER_AND_MEMORY, 0]);
    process.pwrite(fd, CONFIG + COMMAND, master);
  }

  /** Reads the word at `address`; undefined when that faults, NaN when the device could not show what it has read. */
  read(request: Request, address: number, carrier: Carrier | undefined): number | undefined {
    if (this.#kind !== "pci") {
      if (!this.#sample(request, address, false)) return undefined;
      this.#process.pread(this.fd, SAMPLE.buffer, bytes8);
      return view8.getUint32(0, true) + view8.getUint32(4, true) * 2 ** 32;
    }
    if (!this.#edu(request, address, EDU.buffer, EDU_READ)) return undefined;
    if (!carrier || !this.#edu(carrier.request, EDU.buffer, carrier.at, EDU_WRITE)) return Number.NaN;
    return peekNumber(this.#process, carrier.memory);
  }

  /** Writes a word to `address`: whether it arrived, and whether it is `value` (a PCI device has to be given it first). */
  write(request: Request, address: number, value: number, carrier: Carrier | undefined) {
    if (this.#kind !== "pci") {
      this.#set8(SAMPLE.buffer, value);
      return { arrived: this.#sample(request, address, true), isValue: true };
    }
    if (carrier) pokeNumber(this.#process, carrier.memory, value);
    const isValue = carrier !== undefined && this.#edu(carrier.request, carrier.at, EDU.buffer, EDU_READ);
    return { arrived: this.#edu(request, EDU.buffer, address, EDU_WRITE), isValue };
  }

  #edu({ pasid, ats }: Request, from: number, to: number, command: number): boolean {
    const register = pasid === undefined ? 0 : PASID_ENABLE + (ats ? PASID_ATS : 0) + pasid;
    if (register !== this.#register) this.#set8(EDU.pasid, register);
    this.#register = register;
    if (this.#count !== WORD) this.#set8(EDU.count, WORD);
    this.#count = WORD;
    this.#set8(EDU.source, from);
    this.#set8(EDU.destination, to);
    this.#set8(EDU.run, command);
    this.#process.pread(this.fd, EDU.result, bytes8);
    return (bytes8[0]! & 1) === 0;
  }

  #sample({ pasid, byDriver }: Request, address: number, write: boolean): boolean {
    const register = pasid === undefined ? 0 : PASID_ENABLE + pasid;
    if (register !== this.#register) this.#set4(SAMPLE.pasid, register);
    this.#register = register;
    this.#set8(SAMPLE.iova, address);
    const command = COMMANDS[byDriver || "iommu"][write ? 1 : 0]!;
    if (byDriver !== "pin") return this.#command(command, WORD);
    this.#set4(SAMPLE.flags, Number(write));
    if (!this.#command(PIN, 1)) return false;
    const isDone = this.#command(command, WORD);
    return this.#command(UNPIN, 1) && isDone;
  }

  #command(command: number, count: number): boolean {
    if (count !== this.#count) this.#set4(SAMPLE.count, count);
    this.#count = count;
    this.#set4(SAMPLE.command, command);
    this.#process.pread(this.fd, SAMPLE.status, bytes4);
    return view4.getUint32(0, true) === 0;
  }

  #set8(offset: number, value: number): void {
    view8.setUint32(0, value % 2 ** 32, true);
    view8.setUint32(4, Math.floor(value / 2 ** 32), true);
    this.#process.pwrite(this.fd, offset, bytes8);
  }

  #set4(offset: number, value: number): void {
    view4.setUint32(0, value, true);
    this.#process.pwrite(this.fd, offset, bytes4);
  }
}
