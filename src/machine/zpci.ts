import type { PciBar, ZpciDescription } from "../devices/description.ts";
import type { IommuDescription } from "../iommu/description.ts";
import type { ReservedRegion } from "../iommu/group.ts";
import type { PciFile } from "./host-schema.ts";

type ZpciFile = NonNullable<PciFile["zpci"]>;

/** Bit 31 says that the function is enabled; the rest QEMU counts up from here. */
const FIRST_HANDLE = 0x8002_0000;
/** As QEMU's functions have them (recorded on s390x; hw/s390x/s390-pci-bus.c: set_pbdev_info). */
const QEMU_GROUP = { dasm: 0n, msiAddress: 0xfe00_0000_0000_0000n, mui: 4000, noi: 128, maxstbl: 128, version: 0 };
const UTIL_BYTES = 64;

/**
 * What firmware says of a function of an s390 machine. The PCI domain of its address is its user-defined identifier.
 * @param dma the IOVAs that it can use
 */
export function zpciFunction(
  bdf: string,
  dma: Pick<IommuDescription, "apertureStart" | "apertureLast">,
  file: ZpciFile = {},
): ZpciDescription {
  const uid = file.uid ?? Number.parseInt(bdf.split(":")[0]!, 16);
  const { base, group, pfip } = file.device_info_caps ?? {};
  const util = file.util_string_hex ?? new Uint8Array(0);
  return {
    functionId: file.function_id ?? uid,
    startDma: dma.apertureStart,
    endDma: dma.apertureLast,
    functionHandle: file.function_handle ?? FIRST_HANDLE + uid,
    uid,
    pchid: file.pchid ?? 0,
    vfn: file.vfn ?? 0,
    pft: file.pft ?? 0,
    port: file.port ?? 0,
    fmbLength: file.fmb_length ?? base?.fmb_length ?? 0,
    pfip: file.pfip ?? pfip?.pfip ?? 0,
    ...(util.some((byte) => byte !== 0) && { utilString: padded(util) }),
    group: {
      id: file.pfgid ?? 0xff,
      dasm: file.dasm ?? group?.dasm ?? QEMU_GROUP.dasm,
      msiAddress: file.msi_addr ?? group?.msi_addr ?? QEMU_GROUP.msiAddress,
      mui: file.mui ?? group?.mui ?? QEMU_GROUP.mui,
      noi: file.noi ?? group?.noi ?? QEMU_GROUP.noi,
      maxstbl: file.maxstbl ?? group?.maxstbl ?? QEMU_GROUP.maxstbl,
      imaxstbl: file.imaxstbl ?? group?.imaxstbl ?? file.maxstbl ?? QEMU_GROUP.maxstbl,
      version: file.pci_version ?? group?.pci_version ?? QEMU_GROUP.version,
    },
  };
}

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(UTIL_BYTES);
  whole.set(bytes.subarray(0, UTIL_BYTES));
  return whole;
}

/** zPCI has memory BARs only: firmware tells of no I/O ports, and the kernel maps no expansion ROM. */
export function zpciBars(bars: readonly PciBar[]): readonly PciBar[] {
  return bars.filter(({ type }) => type === "memory" || type === "memory64");
}

const RESOURCE = /^0x([0-9a-f]+) 0x([0-9a-f]+) 0x([0-9a-f]+)$/;
const IORESOURCE_MEM = 0x200n;
const IORESOURCE_MEM_64 = 0x10_0000n;
const BARS = 6;

/** The memory BARs that the lines of a function's `resource` file tell of. */
export function barsOfResources(lines: readonly string[]): readonly PciBar[] {
  return lines.slice(0, BARS).flatMap((line, index): PciBar[] => {
    const [start, end, flags] = (RESOURCE.exec(line) ?? []).slice(1).map((digits) => BigInt(`0x${digits}`));
    if (start === undefined || !(flags! & IORESOURCE_MEM)) return [];
    return [{ index, size: Number(end! - start + 1n), type: flags! & IORESOURCE_MEM_64 ? "memory64" : "memory" }];
  });
}

/** What is left of `range` outside regions that lie at its ends. */
export function rangeBetween(
  regions: readonly ReservedRegion[],
  range: { readonly start: bigint; readonly last: bigint },
) {
  let { start, last } = range;
  for (const region of regions) {
    if (region.start <= start && region.last >= start) start = region.last + 1n;
    if (region.last >= last && region.start <= last) last = region.start - 1n;
  }
  return { start, last };
}
