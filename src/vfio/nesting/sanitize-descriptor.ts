import type { Requester } from "../../iommu/requester.ts";
import { fail, hex } from "../../kernel/errors.ts";
import {
  DESCRIPTORS,
  type Descriptor,
  type DescriptorKind,
  decodeDescriptor,
  encodeDescriptor,
} from "../../uapi/intel-invalidation.ts";
import type { NestingContainer } from "./nesting-container.ts";
import { type Submission, type Tagged, tableNumber, tableNumbers, taggedDevices } from "./tagged.ts";

type Fields = Readonly<Record<string, bigint>>;

/**
 * Bits of the function number that a function mask leaves out (VT-d specification, "Context-Cache Invalidate
 * Descriptor", FM).
 */
const FUNCTION_MASKS = [0, 0b100, 0b110, 0b111] as const;

/**
 * Makes the host's own descriptors out of one that a guest has written: the domain-id becomes the container's, the
 * PASID that of the device's table, the source-id must be that of a device in the container, the function mask and the
 * number of pending invalidations become the host's. Nothing of the guest's bits is passed on unlooked at. EINVAL for
 * what is no descriptor, EPERM for one that would reach beyond the container.
 */
export function sanitizeDescriptor(container: NestingContainer, descriptor: Descriptor): Submission[] {
  const decoded = decodeDescriptor(descriptor);
  if (typeof decoded === "string") fail("EINVAL", decoded);
  const { kind, fields } = decoded;
  const granularity = Number(fields.granularity ?? 0n);
  const requesters = container.concerned();
  const byDomain = (each: (tagged: Tagged) => readonly Descriptor[]) =>
    taggedDevices(container, requesters).flatMap((tagged) =>
      each(tagged).map((made) => ({ unit: tagged.unit, descriptor: made })),
    );
  const byPasid = (tagged: Tagged) => tableNumbers(container, tagged.requesters, Number(fields.pasid ?? 0n));
  switch (kind) {
    case "wait":
      fail("EPERM", "a wait descriptor writes to host memory and orders the queue, which is the host's");
      break;
    case "interruptEntry":
      fail("EPERM", "the interrupt entry cache is the host's: a guest has no interrupt remapping of its own here");
      break;
    case "contextCache": {
      refuseGranularity(kind, granularity, [0], [1]);
      if (granularity === 2) onlyFor(fields, ["granularity", "domain"], "granularity domain");
      const named = granularity === 2 ? [] : own(container, fields);
      return byDomain(({ domain, requesters: here }) =>
        granularity === 2
          ? [encodeDescriptor(kind, { granularity, domain })]
          : sourcesOf(here.filter((requester) => named.includes(requester))).map((sourceId) =>
              encodeDescriptor(kind, { granularity, domain, sourceId }),
            ),
      );
    }
    case "iotlb": {
      refuseGranularity(kind, granularity, [0], [1]);
      const { drainReads = 0n, drainWrites = 0n } = fields;
      const which = { granularity, drainReads, drainWrites, ...pages(fields, granularity) };
      return byDomain(({ domain }) => [encodeDescriptor(kind, { ...which, domain })]);
    }
    case "pasidIotlb": {
      refuseGranularity(kind, granularity, [0, 1], []);
      const which = { granularity, globalHint: fields.globalHint ?? 0n, ...pages(fields, granularity) };
      return byDomain((tagged) =>
        byPasid(tagged).map((pasid) => encodeDescriptor(kind, { ...which, domain: tagged.domain, pasid })),
      );
    }
    case "pasidCache":
      refuseGranularity(kind, granularity, [2], [3]);
      if (granularity === 0) {
        onlyFor(fields, ["granularity", "domain"], "granularity domain");
        return byDomain(({ domain }) => [encodeDescriptor(kind, { granularity, domain })]);
      }
      return byDomain((tagged) =>
        byPasid(tagged).map((pasid) => encodeDescriptor(kind, { granularity, domain: tagged.domain, pasid })),
      );
    case "deviceTlb":
      refuseFunction(container, fields);
      return own(container, fields).map((requester) => {
        refuseShared(requester);
        const { size, address } = fields;
        return of(
          container,
          requester,
          encodeDescriptor(kind, { sourceId: requester.identity.source, size: size!, address: address! }),
        );
      });
    case "pasidDeviceTlb":
      refuseFunction(container, fields);
      return deviceTlb(container, own(container, fields), fields);
  }
  return [];
}

/** Of a mediated device's parent, only what is bound for that device. */
function deviceTlb(container: NestingContainer, named: readonly Requester[], fields: Fields): Submission[] {
  const { size = 0n, address = 0n, global = 0n } = fields;
  const made: Submission[] = [];
  for (const requester of named) {
    const sourceId = requester.identity.source;
    if (global === 1n) {
      refuseShared(requester);
      made.push(
        of(container, requester, encodeDescriptor("pasidDeviceTlb", { sourceId, pasid: 0n, global, size, address })),
      );
      continue;
    }
    const pasid = tableNumber(container, requester, Number(fields.pasid));
    if (pasid === undefined) continue;
    made.push(of(container, requester, encodeDescriptor("pasidDeviceTlb", { sourceId, pasid, global, size, address })));
  }
  if (made.length === 0) refuseShared(named[0]!);
  return made;
}

function of(container: NestingContainer, { identity }: Requester, descriptor: Descriptor): Submission {
  return { unit: container.hardware.iommus.unitOf(identity), descriptor };
}

function sourcesOf(requesters: readonly Requester[]): number[] {
  return [...new Set(requesters.map(({ identity }) => identity.source))];
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
function own(container: NestingContainer, { sourceId = 0n, functionMask = 0n }: Fields): readonly Requester[] {
  const ignored = FUNCTION_MASKS[Number(functionMask)]!;
  const requesters = container.concerned();
  const found = requesters.filter(({ identity }) => (identity.source & ~ignored) === (Number(sourceId) & ~ignored));
  if (found.length === 0) {
    fail(
      "EPERM",
      `source-id ${hex(sourceId)} is no device of this container (it has ${sourcesOf(requesters).map(hex).join(", ")})`,
    );
  }
  return found;
}

/** The physical function may be left out, or be a device of the container; the host has its own. */
function refuseFunction(container: NestingContainer, { functionId = 0n }: Fields): void {
  if (functionId !== 0n && !sourcesOf(container.requesters).includes(Number(functionId))) {
    fail("EPERM", `the physical function ${hex(functionId)} is no device of this container`);
  }
}

/** The TLB of a mediated device's parent holds what belongs to others: only PASIDs that are bound here may be named. */
function refuseShared({ identity: { isMediated, functionName, name } }: Requester): void {
  if (!isMediated) return;
  fail(
    "EPERM",
    `${functionName} serves others than ${name} too: only PASIDs that are bound here may be invalidated in it`,
  );
}
