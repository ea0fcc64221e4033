import { findDevice } from "./find-device.ts";
import type { HostDescription, MdevDeviceDescription, PciBar, PciDeviceDescription } from "./host-description.ts";
import { HostDescriptionError } from "./host-description-error.ts";
import { type HeaderFacts, synthesised } from "./pci-config.ts";

/** How a mediated device shows itself: as a PCI function of these ids and regions. */
export interface MediatedIdentity extends HeaderFacts {
  readonly bars: readonly PciBar[];
}

/** Ids without an owner, beside those of QEMU's edu. */
const SAMPLE: MediatedIdentity = {
  vendor: 0x1234,
  device: 0x6d64,
  class: 0xff0000,
  revision: 1,
  subsystemVendor: 0x1234,
  subsystemDevice: 0x0001,
  bars: [
    { index: 0, size: 0x1000, type: "memory" },
    { index: 2, size: 0x1000, type: "memory" },
  ],
};

export function mediatedIdentity(host: HostDescription, device: MdevDeviceDescription): MediatedIdentity {
  return device.model === "sample" ? SAMPLE : likeParent(parentOf(host, device));
}

/** As i915 GVT does it: the identity of the parent and its memory regions; no I/O ports, no ROM (gvt/cfg_space.c, gvt/kvmgt.c). */
function likeParent(parent: PciDeviceDescription): MediatedIdentity {
  const { vendor, device, revision, subsystemVendor, subsystemDevice } = parent;
  const bars = parent.bars.filter(({ type }) => type === "memory" || type === "memory64");
  return { vendor, device, class: parent.class, revision, subsystemVendor, subsystemDevice, bars };
}

function parentOf(host: HostDescription, { uuid, parent }: MdevDeviceDescription): PciDeviceDescription {
  const { device } = findDevice(host, parent);
  if (device.bus !== "pci") throw new HostDescriptionError(`${parent}, the parent of ${uuid}, is no PCI device`);
  return device;
}

const MSI_NEXT = 0x41;
/** Behind the MSI capability of a plain header. */
const REST = 0x50;
const ADVANCED_FEATURES = 0x60;
/** PCI_CAP_ID_AF, the end of the list, 6 bytes, can be reset (transactions pending, function-level reset). */
const RESETTABLE = [0x13, 0x00, 0x06, 0x03];

/**
 * Config space of a mediated device: a plain header whose BARs nobody has placed yet, one MSI vector, and a function-level reset in a
 * capability of conventional PCI, as Intel's graphics have it.
 */
export function mediatedConfig(identity: MediatedIdentity): Uint8Array {
  const config = synthesised(
    identity,
    identity.bars.map((bar) => ({ ...bar, address: 0n })),
  );
  config.fill(0, REST);
  config[MSI_NEXT] = ADVANCED_FEATURES;
  config.set(RESETTABLE, ADVANCED_FEATURES);
  return config;
}
