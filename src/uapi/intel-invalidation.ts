/**
 * Invalidation descriptors of Intel VT-d: the 128 bits that a driver puts into the invalidation queue (VT-d
 * specification, "Invalidation Descriptors"; the same bits in drivers/iommu/intel/iommu.h, QI_*). Every bit is either
 * in a field below or reserved, and reserved bits must be zero.
 */

/** Bits of a descriptor: `first` is the lowest one, 0-63 in the low word, 64-127 in the high one. */
export interface DescriptorBits {
  readonly first: number;
  readonly bits: number;
}

export interface DescriptorField {
  /** One piece, or several for a number whose bits lie apart, lowest first. */
  readonly pieces: readonly DescriptorBits[];
  readonly meaning: string;
}

export interface DescriptorLayout {
  /** Value of bits 0-3. */
  readonly type: number;
  readonly meaning: string;
  readonly fields: Readonly<Record<string, DescriptorField>>;
}

/** A descriptor as it lies in memory: `struct { __u64 low; __u64 high; }`. */
export interface Descriptor {
  readonly low: bigint;
  readonly high: bigint;
}

function field(meaning: string, first: number, bits: number, ...more: DescriptorBits[]): DescriptorField {
  return { pieces: [{ first, bits }, ...more], meaning };
}

const domain = field("domain-id", 16, 16);
const pasid = field("PASID", 32, 20);
const addressMask = field("address mask: 2^am pages of 4 KiB, from `address`, a multiple of their size", 64, 6);
const leafHint = field("invalidation hint: only the last-level entries changed", 70, 1);
const address = field("address in pages of 4 KiB", 76, 52);
const functionId = field("source-id of the physical function, for virtual functions", 12, 4, { first: 52, bits: 12 });

export const DESCRIPTORS = {
  contextCache: {
    type: 1,
    meaning: "context-cache invalidation",
    fields: {
      granularity: field("1 global, 2 domain, 3 device", 4, 2),
      domain,
      sourceId: field("source-id: bus, device and function", 32, 16),
      functionMask: field("how many bits of the function number do not matter, from the most significant on", 48, 2),
    },
  },
  iotlb: {
    type: 2,
    meaning: "IOTLB invalidation (requests without PASID, and everything nested over the second level)",
    fields: {
      granularity: field("1 global, 2 domain, 3 page", 4, 2),
      drainWrites: field("drain writes first", 6, 1),
      drainReads: field("drain reads first", 7, 1),
      domain,
      addressMask,
      leafHint,
      address,
    },
  },
  deviceTlb: {
    type: 3,
    meaning: "device-TLB invalidation",
    fields: {
      functionId,
      maxPending: field("how many invalidations the device can have pending", 16, 5),
      sourceId: field("source-id: bus, device and function", 32, 16),
      size: field("more than one page: the zeros above bit 12 of `address` say how many", 64, 1),
      address,
    },
  },
  interruptEntry: {
    type: 4,
    meaning: "interrupt entry cache invalidation",
    fields: {
      granularity: field("0 global, 1 by index", 4, 1),
      indexMask: field("how many low bits of the index do not matter", 27, 5),
      index: field("index into the interrupt remapping table", 32, 16),
    },
  },
  wait: {
    type: 5,
    meaning: "invalidation wait: writes to memory or interrupts when everything before it is done",
    fields: {
      interrupt: field("interrupt when done", 4, 1),
      statusWrite: field("write the status word when done", 5, 1),
      fence: field("nothing after it starts before it is done", 6, 1),
      pageRequestDrain: field("drain page requests", 7, 1),
      statusData: field("the status word", 32, 32),
      statusAddress: field("physical address of the status word, in units of 4 bytes", 66, 62),
    },
  },
  pasidIotlb: {
    type: 6,
    meaning: "PASID-based (extended) IOTLB invalidation",
    fields: {
      granularity: field("2 PASID, 3 page", 4, 2),
      domain,
      pasid,
      addressMask,
      leafHint,
      globalHint: field("global pages too", 71, 1),
      address,
    },
  },
  pasidCache: {
    type: 7,
    meaning: "PASID-cache invalidation",
    fields: { granularity: field("0 domain, 1 PASID, 3 global", 4, 2), domain, pasid },
  },
  pasidDeviceTlb: {
    type: 8,
    meaning: "PASID-based (extended) device-TLB invalidation",
    fields: {
      maxPending: field("how many invalidations the device can have pending", 4, 5),
      functionId,
      sourceId: field("source-id: bus, device and function", 16, 16),
      pasid,
      global: field("all PASIDs", 64, 1),
      size: field("more than one page: the lowest zero of `address` says how many", 75, 1),
      address,
    },
  },
} as const satisfies Record<string, DescriptorLayout>;

export type DescriptorKind = keyof typeof DESCRIPTORS;

/**
 * A descriptor taken apart: every field of its kind. Numbers, but `address` and `statusAddress`, which need more than
 * 32 bits.
 */
export interface DecodedDescriptor {
  readonly kind: DescriptorKind;
  readonly fields: Readonly<Record<string, bigint>>;
}

const KINDS = Object.keys(DESCRIPTORS) as DescriptorKind[];

/** Takes a descriptor apart; a text says what is wrong with it. */
export function decodeDescriptor({ low, high }: Descriptor): DecodedDescriptor | string {
  const type = Number(low & 0xfn);
  const kind = KINDS.find((name) => DESCRIPTORS[name].type === type);
  if (!kind) return `there is no invalidation descriptor of type ${type}`;
  const whole = low | (high << 64n);
  const fields: Record<string, bigint> = {};
  let known = 0xfn;
  for (const [name, { pieces }] of Object.entries<DescriptorField>(DESCRIPTORS[kind].fields)) {
    let value = 0n;
    let at = 0n;
    for (const { first, bits } of pieces) {
      const mask = (1n << BigInt(bits)) - 1n;
      value |= ((whole >> BigInt(first)) & mask) << at;
      known |= mask << BigInt(first);
      at += BigInt(bits);
    }
    fields[name] = value;
  }
  const reserved = whole & ~known;
  if (reserved) return `reserved bits are set: 0x${reserved.toString(16)} of the descriptor's 128`;
  return { kind, fields };
}

/** Puts a descriptor together; fields that are left out are 0. */
export function encodeDescriptor(kind: DescriptorKind, values: Readonly<Record<string, bigint | number>>): Descriptor {
  const { type, fields } = DESCRIPTORS[kind] as DescriptorLayout;
  let whole = BigInt(type);
  for (const [name, value] of Object.entries(values)) {
    let rest = BigInt(value);
    for (const { first, bits } of fields[name]!.pieces) {
      whole |= (rest & ((1n << BigInt(bits)) - 1n)) << BigInt(first);
      rest >>= BigInt(bits);
    }
    if (rest !== 0n) throw new RangeError(`${value} is too large for ${name} of a ${kind} descriptor`);
  }
  return { low: BigInt.asUintN(64, whole), high: whole >> 64n };
}

/** Address of a device-TLB invalidation that means all addresses. */
export const WHOLE_DEVICE_TLB = 2n ** 51n - 1n;
