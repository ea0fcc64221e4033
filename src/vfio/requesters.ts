import type { Requester } from "../iommu/vtd/host-tables.ts";
import { allDevices } from "../machine/find-device.ts";
import type { HostDescription } from "../machine/host-description.ts";
import { sourceOf } from "./nesting/iommu-device.ts";

/**
 * What the devices of a host can do in an IOMMU with PASIDs, by source-id. On hosts that speak a proposal every device has a TLB of its own
 * (docs/vsva.md); on others it is as described.
 */
export function requesters(host: HostDescription): (source: number) => Requester {
  const described = new Map<number, Requester>();
  for (const { device } of allDevices(host)) {
    if (device.bus === "pci" && device.translation) described.set(sourceOf(device.bdf), device.translation);
  }
  const other: Requester = { pasid: host.api !== "mainline", ats: host.api !== "mainline", pri: false };
  return (source) => described.get(source) ?? other;
}
