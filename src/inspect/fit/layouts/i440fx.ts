import { hasSince, type Vmm } from "../layout.ts";
import { GIB } from "../sizes.ts";
import { type PcMachine, pcLayout } from "./qemu-pc.ts";

const LOW_LIMIT = 0xe000_0000n;

const machine: PcMachine = {
  prefix: "pc-i440fx",
  // 3.5 GiB; since 2.0 (gigabyte_align) 3 GiB when memory must be split
  lowMemory: ({ memory, version }) => (memory >= LOW_LIMIT && hasSince(version, "2.0") ? 3n * GIB : LOW_LIMIT),
  hole64: 2n * GIB,
  sources: [
    "QEMU hw/i386/pc_piix.c: pc_init1 (3.5 GiB below 4 GiB; 3 GiB when memory is split, since 2.0: gigabyte_align)",
    "QEMU hw/pci-host/i440fx.c: I440FX_PCI_HOST_HOLE64_SIZE_DEFAULT",
  ],
};

export const i440fx: Vmm = {
  name: "i440fx",
  arch: "x86_64",
  oldest: { major: 1, minor: 4 },
  hasFirmware: true,
  layout: (request) => pcLayout(machine, request),
};
