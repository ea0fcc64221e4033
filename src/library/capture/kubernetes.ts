import { isBridge } from "../../devices/description.ts";
import { kindOf } from "../../iommu/kinds.ts";
import { hasVfioDriver } from "../../machine/device-nodes.ts";
import { allDevices } from "../../machine/find-device.ts";
import type { HostDescription, PciDeviceDescription } from "../../machine/host-description.ts";
import { idsOf } from "../fit/fit-host.ts";

/** Devices of one ResourceSlice (k8s.io/api/resource/v1: ResourceSliceMaxDevices). */
const SLICE_MAX = 128;
/** A DNS domain that the reader replaces by the one of the driver that manages the devices. */
const DRIVER = "vfio.example.com";
const BITS = (last: bigint) => last.toString(2).length;

type Attribute = { readonly string: string } | { readonly int: number } | { readonly bool: boolean };

/**
 * The devices that VFIO has, as ResourceSlices of Kubernetes' dynamic resource allocation (resource.k8s.io/v1): one
 * JSON document each. Attributes are names of the driver's, without a domain.
 */
export function resourceSlices(host: HostDescription): readonly object[] {
  const pool = label(host.name);
  const devices = allDevices(host).flatMap(({ device, group }) => {
    if (device.bus !== "pci" || !hasVfioDriver(device) || isBridge(device)) return [];
    const unit = group.iommu ?? host.iommu;
    const attributes: Record<string, Attribute> = {
      pciAddress: { string: device.bdf },
      vendor: { string: hex4(device.vendor) },
      device: { string: hex4(device.device) },
      class: { string: device.class.toString(16).padStart(6, "0") },
      iommuGroup: { int: group.id },
      iommu: { string: unit.model },
      iovaBits: { int: BITS(unit.apertureLast) },
      interruptRemapping: { bool: unit.interruptRemapping },
      ...(device.numaNode !== undefined && { numaNode: { int: device.numaNode } }),
      ...(device.physfn !== undefined && { physicalFunction: { string: device.physfn } }),
    };
    return [{ name: label(device.bdf), attributes }];
  });
  const slices: (typeof devices)[] = [];
  for (let at = 0; at < devices.length; at += SLICE_MAX) slices.push(devices.slice(at, at + SLICE_MAX));
  return slices.map((part, index) => ({
    apiVersion: "resource.k8s.io/v1",
    kind: "ResourceSlice",
    metadata: { name: `${pool}-vfio-${index}` },
    spec: {
      driver: DRIVER,
      nodeName: host.name,
      pool: { name: pool, generation: 1, resourceSliceCount: slices.length },
      devices: part,
    },
  }));
}

/**
 * The host as labels: a line each for node-feature-discovery's local source
 * (/etc/kubernetes/node-feature-discovery/features.d), which puts feature.node.kubernetes.io/ before the names.
 */
export function nodeFeatures(host: HostDescription): readonly string[] {
  const { iommu, modules } = host;
  const translates = kindOf(iommu.model).translates;
  const counts = new Map<string, number>();
  for (const { device } of allDevices(host))
    if (device.bus === "pci" && hasVfioDriver(device)) counts.set(key(device), (counts.get(key(device)) ?? 0) + 1);
  return [
    `vfio.iommu=${iommu.model}`,
    ...(translates
      ? [
          `vfio.iova-bits=${BITS(iommu.apertureLast)}`,
          `vfio.interrupt-remapping=${iommu.interruptRemapping}`,
          `vfio.dma-entry-limit=${modules.vfioIommuType1.dmaEntryLimit}`,
        ]
      : []),
    `vfio.container=${host.vfioContainer}`,
    `vfio.iommufd=${host.iommufd}`,
    ...[...counts].sort().map(([name, count]) => `vfio.device-${name}=${count}`),
  ];
}

function key(device: PciDeviceDescription): string {
  return idsOf(device).replace(":", "-");
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, "0");
}

/** A DNS label: what Kubernetes takes for names. */
function label(text: string): string {
  const plain = text.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  return plain.replace(/^-+|-+$/g, "").slice(0, 63) || "host";
}
