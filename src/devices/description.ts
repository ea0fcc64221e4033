/**
 * What a description says of a PCI function: the machine's descriptions are made of these, and kinds of devices fill in
 * what they leave open.
 */

export const PCI_BAR_TYPES = ["memory", "memory64", "io", "rom"] as const;

/** A base address register: config space tells its place and kind, but never its size. */
export interface PciBar {
  /** 0..5, or 6 for the expansion ROM, as VFIO numbers regions. */
  readonly index: number;
  /** Bytes, a power of two. */
  readonly size: number;
  /** memory, memory64, io or rom. */
  readonly type: (typeof PCI_BAR_TYPES)[number];
  /** Its bytes can be read ahead: they are memory. */
  readonly prefetch?: true;
  /** Who else has its addresses reserved, e.g. simpledrm: then VFIO cannot have them (pci_request_selected_regions). */
  readonly claimedBy?: string;
}

/**
 * none: the BAR is there and nothing behind it; shadow: firmware's copy at 0xc0000, no BAR of its own; or the image.
 */
export type RomContent = "none" | "shadow" | Uint8Array;

/** A BAR with its place. */
export interface PlacedBar extends PciBar {
  /** First bus address; 0 when nobody has placed it. */
  readonly address: bigint;
}

/** How a function shows itself in the first bytes of its config space. */
export interface PciIdentity {
  /** 16-bit ids (config space 0x00, 0x02). */
  readonly vendor: number;
  /** Device id, 16 bits (config space 0x02). */
  readonly device: number;
  /** 24 bits: base class, subclass, programming interface (config space 0x09-0x0b). */
  readonly class: number;
  /** 8 bits (config space 0x08). */
  readonly revision: number;
  /** 16 bits (config space 0x2c). */
  readonly subsystemVendor: number;
  /** 16 bits (config space 0x2e). */
  readonly subsystemDevice: number;
}

/**
 * Capabilities of a device that concern translation (PCI Express: PASID, ATS and PRI extended capabilities). At least
 * one is there.
 */
export interface TranslationAbilities {
  /** Requests can carry a PASID of 20 bits. */
  readonly pasid: boolean;
  /** It can cache translations itself. */
  readonly ats: boolean;
  /** It can ask for pages that it may not use yet, and wait for them. Needs `ats`. */
  readonly pri: boolean;
}

export function isBridge({ class: deviceClass }: Pick<PciIdentity, "class">): boolean {
  return deviceClass >>> 8 === 0x0604;
}

/** A PCI function of s390 as its firmware describes it (CLP instructions; Documentation/arch/s390/pci.rst). */
export interface ZpciDescription {
  /** FID: 32 bits. Default: the UID. */
  readonly functionId: number;
  /** First and last IOVA that it can use. Default: its group's aperture. */
  readonly startDma: bigint;
  readonly endDma: bigint;
  /** 32 bits; bit 31 is set while the function is enabled. */
  readonly functionHandle: number;
  /** UID, 16 bits: the PCI domain that Linux gives it. Default: the domain of its address. */
  readonly uid: number;
  /** Physical channel, 16 bits. Default 0. */
  readonly pchid: number;
  /** Virtual function number, 16 bits. Default 0. */
  readonly vfn: number;
  /** Function type, 8 bits. Default 0. */
  readonly pft: number;
  readonly port: number;
  /** Bytes of a measurement block. Default 0. */
  readonly fmbLength: number;
  /** Internal path: four segments of 8 bits, the first one highest. Default 0. */
  readonly pfip: number;
  /** 64 bytes of EBCDIC; absent where firmware has none. */
  readonly utilString?: Uint8Array;
  readonly group: ZpciGroup;
  /** The lines of its `resource` file, where a recording has them. */
  readonly resource?: readonly string[];
}

/** The function group of firmware, which has nothing to do with IOMMU groups. */
export interface ZpciGroup {
  /** 8 bits. Default 0xff. */
  readonly id: number;
  /** DMA address space mask. */
  readonly dasm: bigint;
  /** Where interrupts are written to. */
  readonly msiAddress: bigint;
  /** Measurement interval, milliseconds. */
  readonly mui: number;
  /** The most interrupts of one function. */
  readonly noi: number;
  /** The longest block of one store, bytes; without and with interpretation. */
  readonly maxstbl: number;
  readonly imaxstbl: number;
  readonly version: number;
}
