import type { Vmm } from "../layout.ts";
import { GIB } from "../sizes.ts";
import { type PcMachine, pcLayout } from "./qemu-pc.ts";

const machine: PcMachine = {
  prefix: "pc-q35",
  // as much as leaves room for PCI and MMCONFIG; whole GiB as soon as memory must be split
  lowMemory: ({ memory }) => (memory >= 0xb000_0000n ? 0x8000_0000n : 0xb000_0000n),
  hole64: 32n * GIB,
  sources: [
    "QEMU hw/i386/pc_q35.c: pc_q35_init (2 GiB below 4 GiB from 0xb0000000 bytes on)",
    "QEMU hw/pci-host/q35.c: Q35_PCI_HOST_HOLE64_SIZE_DEFAULT",
  ],
};

export const q35: Vmm = {
  name: "q35",
  arch: "x86_64",
  oldest: { major: 2, minor: 4 },
  hasFirmware: true,
  layout: (request) => pcLayout(machine, request),
};
