import type { MediatedKind } from "../../kind.ts";
import { MEDIATED_CONFIG } from "../mediated-config.ts";
import { SampleMediatedDevice } from "./sample-device.ts";

/** A device whose registers make it pin pages: docs/sample-mdev.md. */
export const sample: MediatedKind = {
  bus: "mdev",
  model: "sample",
  title: "mediated sample device",
  // ids without an owner, beside those of QEMU's edu
  identity: () => ({
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
  }),
  config: MEDIATED_CONFIG,
  create: (around) => new SampleMediatedDevice(around),
};
