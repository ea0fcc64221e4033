import type { KnownDevice } from "../kind.ts";

/** Devices of the recorded machines that no kind drives: their registers are plain memory, and this is how they show themselves. */
export const UNDRIVEN_DEVICES: readonly KnownDevice[] = [
  // QEMU nvme
  {
    vendor: 0x1b36,
    device: 0x0010,
    class: 0x010802,
    subsystemVendor: 0x1af4,
    subsystemDevice: 0x1100,
    bars: [{ index: 0, size: 0x4000, type: "memory64" }],
  },
];
