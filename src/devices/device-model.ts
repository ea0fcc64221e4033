import type { PasidRequest } from "../iommu/dma-target.ts";
import type { MappingListener } from "../iommu/mapping-feed.ts";
import type { DeviceTime } from "./device-clock.ts";

/** A width of access to a region, in bytes. */
export type AccessWidth = NumberWidth | 8;
/** Bytes of a register whose value is a number without a loss. */
export type NumberWidth = 1 | 2 | 4;

/** A register that a program may use through a mapping, where nobody sees single accesses. */
export interface MappedRegister {
  /** Bytes into the region. */
  readonly offset: number;
  /** Bytes. */
  readonly width: AccessWidth;
  /**
   * Each write counts, also one of the value that is there, and a driver may go on at once as if the device had acted.
   * So the model is told that a write comes (expectsWrite), where a transport can, and writes to this page take longer.
   */
  readonly doorbell?: true;
  /**
   * A write begins work whose end the program sees in its memory, and then goes on writing registers: what was written
   * before is to show before that.
   */
  readonly begins?: true;
}

/** A part of a memory region. */
export interface RegionPart {
  /** Where it begins, bytes into the region. */
  readonly offset: number;
  /** What is there. */
  readonly bytes: Uint8Array;
}

/** A part of a region that programs may map. */
export interface MappableArea {
  /** Where it begins, bytes into the region. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

/** A region that is plain memory: what was written can be read back. Many bytes go at once. */
export interface RegionMemory {
  /** Fills `into` from there. */
  readBytes(offset: number, into: Uint8Array): void;
  /** Writes all of `from` there. */
  writeBytes(offset: number, from: Uint8Array): void;
  /** The parts that are not all zeros, in no order. */
  pages(): Iterable<RegionPart>;
}

/** An access that may have to wait for a page. */
export interface WaitingAccess {
  readonly write: boolean;
  readonly iova: bigint;
  /** Where to, or what. */
  readonly bytes: Uint8Array;
  readonly pasid?: PasidRequest | undefined;
  /** After "waiting": the page is there now, so that the access can be made again; or it will not be. */
  answered(granted: boolean): void;
}

/**
 * What a device in another process writes to memory that is shared with it: it does not ask for these accesses, so that
 * it has to note them itself.
 */
export interface OwnWrites {
  /**
   * Notes them from now on.
   * @param pageSize bytes, a power of two
   * @param written hears of ranges that were, in bytes, until stop()
   */
  start(ranges: readonly { readonly start: bigint; readonly last: bigint }[], pageSize: bigint, written: Written): void;
  /** Tells what was written in a range since it was asked last; both ends included. */
  collect(start: bigint, last: bigint): void;
  /** Nobody hears of them any more. */
  stop(): void;
}

/** A range of memory was written. Bytes. */
export type Written = (iova: bigint, length: number) => void;

/** What a model can do to the world around it. */
export interface DeviceBus {
  /** What takes time goes by it: a job that may be long is a DeviceJob that it starts. */
  readonly clock: DeviceTime;
  /**
   * Reads memory by DMA. What faults is zeros, and everything is while bus mastering is off.
   * @param pasid how the request is made when it carries a PASID
   * @returns whether all bytes were read
   */
  dmaRead(iova: bigint, into: Uint8Array, pasid?: PasidRequest): boolean;
  /**
   * Writes memory by DMA. What faults is dropped, and everything is while bus mastering is off.
   * @returns whether all bytes arrived
   */
  dmaWrite(iova: bigint, from: Uint8Array, pasid?: PasidRequest): boolean;
  /**
   * A DMA access of a device that can wait for pages (PRI). There on devices whose description says that they can.
   */
  dmaOrWait?(access: WaitingAccess): "done" | "failed" | "waiting";
  /** Whether message-signalled interrupts are on (MSI or MSI-X); otherwise the device has its INTx line. */
  readonly messagesEnabled: boolean;
  /** Whether those are MSI-X's. */
  readonly usesMsix?: boolean;
  /** Sends the message of a vector. */
  sendMessage(vector: number): void;
  /** A message that is held back because its vector is masked is not sent. */
  dropMessage?(vector: number): void;
  /** Sets the level of the INTx line. */
  setLine(asserted: boolean): void;
  /** Tells the person who runs the program something about the device, once. */
  report?(message: string): void;
  /**
   * Does what a job of somebody's model does; an error is reported as all of the model's are, and gives `otherwise`.
   */
  contain?<T>(action: () => T, otherwise: T): T;
  /** Whether a program has registers mapped, so that nobody sees which ones it reads. */
  readonly isMapped?: boolean;
  /**
   * Tells which memory the device reaches, for one in another process that has to know it beforehand. Once, when the
   * model is made.
   */
  watchMappings?(listener: MappingListener): void;
  /** Has mappings show what registers are now, before the device goes on. There where somebody may have mapped them. */
  showRegisters?(): void;
  /**
   * Brings what programs have written to a mapped part of a region of memory to the device, which is about to look
   * there itself. There where somebody may have mapped it. Bytes.
   */
  fetchMemory?(region: number, offset: number, length: number): void;
  /** Shows programs what the device has written to a part of a region of memory itself. */
  showMemory?(region: number, offset: number, length: number): void;
}

/** The functions of a host, as its models find each other. */
export interface OtherFunctions {
  /** The one of that name ("0000:07:00.1"); undefined where there is none. */
  find(name: string): DeviceModel | undefined;
  /** All of them, also the one that asks. */
  all(): Iterable<DeviceModel>;
}

/**
 * What is behind a PCI function's base address registers. A kind of device makes it (kind.ts).
 * `region` is 0..5, or 6 for the expansion ROM.
 */
export interface DeviceModel {
  /** An aligned read of `width` bytes. Never throws: a register that is not there reads as the device has it. */
  read(region: number, offset: number, width: AccessWidth): bigint;
  /** An aligned write of the low `width` bytes of a value. Never throws: what is not there takes it and forgets. */
  write(region: number, offset: number, width: AccessWidth, value: bigint): void;
  /**
   * Of a model whose registers are in another process: asks for an access, in steps of at most a millisecond. The same
   * access is made right after the last, and then has its outcome. Without it the access waits for that.
   * @param value what is written; undefined for a read
   */
  prepare?(region: number, offset: number, width: AccessWidth, value: bigint | undefined): Generator<void, void>;
  /**
   * Whether anything answers at a place; everywhere when left out. On s390 a load from where nothing does fails, and
   * gives all ones.
   */
  decodes?(region: number, offset: number): boolean;
  /**
   * Called before a transport that only sees memory shows registers.
   * @returns whether one may have changed since the last time without having been written
   */
  advance?(): boolean;
  /**
   * What its registers show changes without a job, a moment or an access (DeviceTime): transports that see memory only
   * ask advance() again and again. Of a model that is not uvfio's own, where it is left out, that is so when it has
   * advance().
   */
  readonly changesUnseen?: boolean;
  /**
   * A program is about to write to the page of a mapping that a doorbell of the model is in, perhaps several registers
   * of it, and may read others in its next instructions, before the write has been carried out: mappings show from now
   * on what they may read then. Only some transports can tell.
   * @param region undefined when no write is expected any more
   */
  expectsWrite?(region: number | undefined, offset?: number): void;
  /**
   * It can be reset in a way of its own, whatever its config space says (drivers/pci/quirks.c:pci_dev_specific_reset).
   */
  readonly canReset?: boolean;
  /** Its I/O ports take accesses of 8 bytes as they are: it is on no bus that has none of these. */
  readonly takesWideIo?: boolean;
  /** What a part of config space reads as now, where that is not what was written there; undefined where it is. */
  readConfig?(offset: number, width: 1 | 2 | 4): number | undefined;
  /** A part of config space was written. @param value what is there now */
  configWritten?(offset: number, width: 1 | 2 | 4, value: number): void;
  /** Of a device that writes to memory without asking. */
  readonly ownWrites?: OwnWrites | undefined;
  /** The host is needed no more: what the model has outside of this process ends. */
  close?(): void;
  /** Function-level reset: registers are as after power-on. */
  reset(): void;
  /**
   * All functions of the host are there: finds those that it has to do with.
   * Throws OptionError for an option that names one that is not.
   */
  connect?(others: OtherFunctions): void;
  /** A physical function has so many virtual ones from now on; all of them are new. */
  hasFunctions?(count: number): void;
  /**
   * What a region is when it is plain memory: somebody else can keep the bytes while a program has it mapped. undefined
   * for a region that has registers, whose reads and writes mean something.
   */
  memory(region: number): RegionMemory | undefined;
  /**
   * Registers of a region that a program which maps it may use, for transports that only see the memory: they look for
   * changes in this order, and show what has changed in the opposite one.
   */
  registers(region: number): readonly MappedRegister[];
  /** Whether a region may be mapped where its device's may; all may when left out. */
  isMappable?(region: number): boolean;
  /** Of a region that may be mapped in parts only: which, in whole pages. All of it when left out or undefined. */
  mappableAreas?(region: number): readonly MappableArea[] | undefined;
  /**
   * What a mapping shows of a register where that is not what a read gives: a register that programs only write, at a
   * time when writing the value that it has already means something, shows another one.
   */
  shows?(region: number, offset: number, width: AccessWidth): bigint;
  /**
   * The same as a number, for a model with so many registers that it shows in the time that they take. One of 8 bytes
   * is asked for in two halves.
   */
  showsNumber?(region: number, offset: number, width: NumberWidth): number;
  /**
   * A recording begins in the middle of a machine's life: takes over what an earlier program left in a register that no
   * reset clears. False when there is no such register, or when it was written since.
   */
  adopt?(region: number, offset: number, value: bigint): boolean;
}
