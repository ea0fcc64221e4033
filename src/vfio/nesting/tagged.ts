import type { InvalidatedUnit } from "../../iommu/proposed.ts";
import type { Requester } from "../../iommu/requester.ts";
import type { Descriptor } from "../../uapi/intel-invalidation.ts";
import type { NestingContainer } from "./nesting-container.ts";

/** Devices of a container whose translations one unit tags with one domain-id: PCI functions, or mediated devices. */
export interface Tagged {
  readonly unit: InvalidatedUnit;
  readonly domain: number;
  readonly requesters: readonly Requester[];
}

/** A descriptor of the host's, for one unit. */
export interface Submission {
  readonly unit: InvalidatedUnit;
  readonly descriptor: Descriptor;
}

export function submitAll(submissions: readonly Submission[]): void {
  for (const { unit, descriptor } of submissions) unit.submit(descriptor);
}

/**
 * Puts devices together by their tag. Those without one are left out: nothing has been entered for them, so that
 * nothing is remembered.
 */
export function taggedDevices(container: NestingContainer, requesters: readonly Requester[]): Tagged[] {
  const found = new Map<string, { unit: InvalidatedUnit; domain: number; requesters: Requester[] }>();
  for (const requester of requesters) {
    const domain = container.domainIdOf(requester);
    if (domain === undefined) continue;
    const { identity } = requester;
    const key = `${identity.segment}.${domain}`;
    const tagged = found.get(key) ?? { unit: container.hardware.iommus.unitOf(identity), domain, requesters: [] };
    tagged.requesters.push(requester);
    found.set(key, tagged);
  }
  return [...found.values()];
}

/**
 * The number in a device's table that a guest's PASID means. A PCI function has its table for itself, so that a number
 * that is not bound means nothing there; of a mediated device's parent only what is bound for that device may be named:
 * undefined.
 */
export function tableNumber(container: NestingContainer, requester: Requester, pasid: number): number | undefined {
  return requester.identity.isMediated ? container.hostNumber(requester, pasid) : pasid;
}

/** The same for all of some devices, each number once. */
export function tableNumbers(container: NestingContainer, requesters: readonly Requester[], pasid: number): number[] {
  const numbers = requesters.map((requester) => tableNumber(container, requester, pasid));
  return [...new Set(numbers.filter((number) => number !== undefined))];
}
