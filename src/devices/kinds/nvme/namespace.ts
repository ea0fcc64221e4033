import type { Disk } from "../../disk/disk.ts";
import * as status from "./status.ts";

/** A layout of logical blocks. */
export interface LbaFormat {
  /** log2 of the bytes of a block. */
  readonly shift: number;
  /** Bytes of metadata for each block. */
  readonly metadata: number;
}

/** The layouts that Format NVM offers, as QEMU's controller has them (recorded: nv_identify_ns). */
export const FORMATS: readonly LbaFormat[] = [9, 12].flatMap((shift) =>
  [0, 8, 16, 64].map((metadata) => ({ shift, metadata })),
);

export interface NamespaceFacts {
  readonly id: number;
  readonly disk: Disk;
  /** Bytes of a block at first. */
  readonly block: number;
  /**
   * It may be attached to several controllers, and blocks can be copied in it: what QEMU's nvme-ns has and its drive=
   * has not.
   */
  readonly isShared: boolean;
  readonly eui64?: bigint | undefined;
  /** 16 bytes. */
  readonly uuid?: Uint8Array | undefined;
}

/** As it is saved; its disk is another matter. */
export interface NamespaceState {
  /** Index in FORMATS. */
  readonly format: number;
  readonly isExtended: boolean;
  readonly protectsFirst: boolean;
  readonly isAttached: boolean;
  readonly errorRecovery: number;
  readonly counts: Namespace["counts"];
}

/** A namespace: a disk and how it is divided into blocks. */
export class Namespace {
  readonly id: number;
  readonly disk: Disk;
  readonly isShared: boolean;
  readonly eui64: bigint | undefined;
  readonly uuid: Uint8Array | undefined;
  /** The controller has it. */
  isAttached = true;
  /** Format NVM is at it. */
  isFormatting = false;
  /** Since the host was booted. */
  readonly counts = { reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0 };
  /** Feature 5. */
  errorRecovery = 0;
  #format: number;
  /** Metadata follow the data of each block instead of lying apart. */
  #isExtended = false;
  /** Where protection information would be, if there were any: at the beginning of metadata. */
  #protectsFirst = false;

  constructor(facts: NamespaceFacts) {
    this.id = facts.id;
    this.disk = facts.disk;
    this.isShared = facts.isShared;
    this.eui64 = facts.eui64;
    this.uuid = facts.uuid;
    this.#format = FORMATS.findIndex(({ shift, metadata }) => 1 << shift === facts.block && metadata === 0);
  }

  /** Index in FORMATS. */
  get format(): number {
    return this.#format;
  }

  get isExtended(): boolean {
    return this.#isExtended;
  }

  get protectsFirst(): boolean {
    return this.#protectsFirst;
  }

  setFormat(format: number, isExtended: boolean, protectsFirst: boolean): void {
    this.#format = format;
    this.#isExtended = isExtended;
    this.#protectsFirst = protectsFirst;
  }

  get #layout(): LbaFormat {
    return FORMATS[this.#format]!;
  }

  save(): NamespaceState {
    const { format, isExtended, protectsFirst, isAttached, errorRecovery, counts } = this;
    return { format, isExtended, protectsFirst, isAttached, errorRecovery, counts };
  }

  restore({ format, isExtended, protectsFirst, isAttached, errorRecovery, counts }: NamespaceState): void {
    this.setFormat(format, isExtended, protectsFirst);
    this.isAttached = isAttached;
    this.isFormatting = false;
    this.errorRecovery = errorRecovery;
    Object.assign(this.counts, counts);
  }

  /** Bytes of a block. */
  get blockSize(): number {
    return 1 << this.#layout.shift;
  }

  /** Bytes of metadata for each block. */
  get metadataSize(): number {
    return this.#layout.metadata;
  }

  /** Blocks. */
  get blocks(): number {
    const { shift, metadata } = this.#layout;
    return Math.floor(this.disk.size / ((1 << shift) + metadata));
  }

  /** Where the metadata of a block lie: behind all data. */
  metadataOffset(block: number): number {
    return this.blocks * this.blockSize + block * this.metadataSize;
  }

  /** Status of an access to `count` blocks from `first` on. */
  checkRange(first: bigint, count: number): number {
    return first + BigInt(count) > BigInt(this.blocks) ? status.LBA_OUT_OF_RANGE | status.DNR : status.SUCCESS;
  }

  /** Blocks that are freed together, minus one: 4 KiB. */
  get granularity(): number {
    return Math.max(4096 / this.blockSize, 1) - 1;
  }
}
