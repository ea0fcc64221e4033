import { type GuestLayout, type LayoutRequest, sized, type Vmm, versionText } from "../layout.ts";
import { GIB, roundUp, sizeText, TIB } from "../sizes.ts";

/** All outbound PCI windows lie from here to 64 TiB, one TiB for each host bridge's 64-bit window. */
const PCI_START = 32n * TIB;
const WINDOW = TIB;

function layout({ memory, maxMemory, version }: LayoutRequest): GuestLayout {
  const deviceStart = roundUp(memory, GIB);
  const device = maxMemory - memory;
  const end = device === 0n ? memory : deviceStart + device;
  return {
    vmm: `QEMU pseries${version ? `-${versionText(version)}` : " (machine version 2.8 or newer)"}`,
    ranges: [
      ...sized("RAM", "ram", 0n, memory),
      ...sized("memory hotplug", "hotplug", deviceStart, device),
      // the first host bridge's
      ...sized("64-bit PCI window", "bars", PCI_START + WINDOW, WINDOW),
    ].filter((range) => range.kind !== "bars" || end <= PCI_START),
    highest: end - 1n,
    highestIs: "guest memory",
    physBitsCure: "a host CPU with more address bits",
    ...(end > PCI_START && {
      refusal: `memory would end at ${sizeText(end)}, behind the PCI windows that start at ${sizeText(PCI_START)}`,
    }),
    notes: ["the guest fills DMA windows through hypercalls; its memory is not mapped at its own addresses"],
    sources: [
      "QEMU hw/ppc/spapr.c: spapr_machine_init",
      "QEMU include/hw/pci-host/spapr.h: SPAPR_PCI_BASE (since 2.8)",
    ],
  };
}

export const pseries: Vmm = {
  name: "pseries",
  arch: "ppc64le",
  oldest: { major: 2, minor: 8 },
  layout,
};
