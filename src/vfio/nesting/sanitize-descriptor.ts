import { fail, hex } from "../../kernel/errors.ts";
import {
  DESCRIPTORS,
  type Descriptor,
  type DescriptorKind,
  decodeDescriptor,
  encodeDescriptor,
} from "../../uapi/intel-invalidation.ts";
import type { IommuDevice } from "./iommu-device.ts";
import type { NestingContainer } from "./nesting-container.ts";

type Fields = Readonly<Record<string, bigint>>;

/** Bits of the function number that a function mask leaves out (VT-d specification, "Context-Cache Invalidate Descriptor", FM). */
const FUNCTION_MASKS = [0, 0b100, 0b110, 0b111] as const;

/**
 * Makes the host's own descriptors out of one that a guest has written: the domain-id becomes the container's, the source-id must be that of a
 * device in it, the function mask and the number of pending invalidations become the host's. Nothing of the guest's bits is passed on unlooked at.
 * EINVAL for what is no descriptor, EPERM for one that would reach beyond the container.
 */
export function sanitizeDescriptor(container: NestingContainer, descriptor: Descriptor): Descriptor[] {
  const decoded = decodeDescriptor(descriptor);
  if (typeof decoded === "string") fail("EINVAL", decoded);
  const { kind, fields } = decoded;
  const granularity = Number(fields.granularity ?? 0n);
  const { domain } = container;
  switch (kind) {
    case "wait":
      fail("EPERM", "a wait descriptor writes to host memory and orders the queue, which is the host's");
      break;
    case "interruptEntry":
      fail("EPERM", "the interrupt entry cache is the host's: a guest has no interrupt remapping of its own here");
      break;
    case "contextCache":
      refuseGranularity(kind, granularity, [0], [1]);
      if (granularity === 2) {
        onlyFor(fields, ["granularity", "domain"], "granularity domain");
        return [encodeDescriptor(kind, { granularity, domain })];
      }
      return own(container, fields).map(({ source }) =>
        encodeDescriptor(kind, { granularity, domain, sourceId: source }),
      );
    case "iotlb": {
      refuseGranularity(kind, granularity, [0], [1]);
      const { drainReads = 0n, drainWrites = 0n } = fields;
      return [encodeDescriptor(kind, { granularity, domain, drainReads, drainWrites, ...pages(fields, granularity) })];
    }
    case "pasidIotlb": {
      refuseGranularity(kind, granularity, [0, 1], []);
      const { pasid = 0n, globalHint = 0n } = fields;
      return [encodeDescriptor(kind, { granularity, domain, pasid, globalHint, ...pages(fields, granularity) })];
    }
    case "pasidCache":
      refuseGranularity(kind, granularity, [2], [3]);
      if (granularity === 0) onlyFor(fields, ["granularity", "domain"], "granularity domain");
      return [encodeDescriptor(kind, { granularity, domain, pasid: fields.pasid! })];
    case "deviceTlb":
      refuseFunction(container, fields);
      return own(container, fields).map((device) => {
        refuseShared(container, device, undefined);
        return encodeDescriptor(kind, { sourceId: device.source, size: fields.size!, address: fields.address! });
      });
    case "pasidDeviceTlb":
      refuseFunction(container, fields);
      return own(container, fields).map((device) => {
        const isGlobal = fields.global === 1n;
        refuseShared(container, device, isGlobal ? undefined : Number(fields.pasid));
        const { size = 0n, address = 0n, global = 0n } = fields;
        return encodeDescriptor(kind, {
          sourceId: device.source,
          pasid: isGlobal ? 0n : fields.pasid!,
          global,
          size,
          address,
        });
      });
  }
  return [];
}

function refuseGranularity(
  kind: DescriptorKind,
  granularity: number,
  reserved: readonly number[],
  global: readonly number[],
): void {
  const what = DESCRIPTORS[kind].meaning;
  if (reserved.includes(granularity)) fail("EINVAL", `granularity ${granularity} is reserved (${what})`);
  if (global.includes(granularity))
    fail("EPERM", `a global ${what} would reach the domains of others; ask for your own`);
}

/** What a granularity does not look at must be 0: it could get a meaning. */
function onlyFor(fields: Fields, known: readonly string[], what: string): void {
  const extra = Object.entries(fields).find(([name, value]) => value !== 0n && !known.includes(name));
  if (extra) fail("EINVAL", `${extra[0]} is ${hex(extra[1])}, but ${what} does not look at it: it must be 0`);
}

function pages({ addressMask = 0n, leafHint = 0n, address = 0n }: Fields, granularity: number) {
  if (granularity !== 3) {
    if (addressMask || leafHint || address)
      fail("EINVAL", "an address, its mask and the leaf hint go with granularity page (3) only");
    return {};
  }
  if (addressMask >= 52n || address & ((1n << addressMask) - 1n)) {
    fail("EINVAL", `page ${hex(address)} is not a multiple of the 2^${addressMask} pages that the address mask says`);
  }
  return { addressMask, leafHint, address };
}

/** The container's devices that a source-id (with its function mask) names. EPERM when it names none. */
function own(container: NestingContainer, { sourceId = 0n, functionMask = 0n }: Fields): IommuDevice[] {
  const ignored = FUNCTION_MASKS[Number(functionMask)]!;
  const found = new Map<number, IommuDevice>();
  for (const { device } of container.devices()) {
    if ((device.source & ~ignored) === (Number(sourceId) & ~ignored)) found.set(device.source, device);
  }
  if (found.size === 0) {
    fail(
      "EPERM",
      `source-id ${hex(sourceId)} is no device of this container (it has ${container
        .sources()
        .map((source) => hex(source))
        .join(", ")})`,
    );
  }
  return [...found.values()];
}

/** The physical function may be left out, or be a device of the container; the host has its own. */
function refuseFunction(container: NestingContainer, { functionId = 0n }: Fields): void {
  if (functionId !== 0n && !container.sources().includes(Number(functionId))) {
    fail("EPERM", `the physical function ${hex(functionId)} is no device of this container`);
  }
}

/** The TLB of a mediated device's parent holds what belongs to others: only PASIDs that are bound here may be named. */
function refuseShared(container: NestingContainer, device: IommuDevice, pasid: number | undefined): void {
  if (!device.isMediated || (pasid !== undefined && container.isBound(pasid))) return;
  fail(
    "EPERM",
    `${device.requester} serves others than ${device.name} too: only PASIDs that are bound here may be invalidated in it`,
  );
}
