import { ARCHES, type Arch } from "../../kernel/arch.ts";
import type { HostFile } from "../host-schema.ts";
import type { SourceTree } from "./source-tree.ts";

/** How Node names architectures. */
const NODE_ARCH: Readonly<Record<string, Arch>> = { x64: "x86_64", arm64: "arm64", ppc64: "ppc64le", s390x: "s390x" };

export interface KernelFacts {
  /** "6.12.107+deb13-amd64", for people. */
  readonly release?: string;
  /** "6.12" */
  readonly kernel?: string;
  readonly arch?: Arch;
  readonly pageSize?: number;
}

export function captureKernel(tree: SourceTree): KernelFacts {
  const release = tree.text("proc/sys/kernel/osrelease");
  const kernel = release === undefined ? undefined : /^\d+\.\d+/.exec(release)?.[0];
  if (kernel === undefined) tree.miss("the kernel release is not in /proc/sys/kernel/osrelease: 6.12 assumed (kernel)");
  const arch = archOf(tree);
  // every mapping of the process says what the kernel's page is
  const page = /^KernelPageSize:\s+(\d+) kB$/m.exec(tree.text("proc/self/smaps") ?? "")?.[1];
  if (arch === "ppc64le" && page === undefined)
    tree.miss("the kernel's page size is not in /proc/self/smaps: 65536 assumed (page_size)");
  return {
    ...(release !== undefined && { release }),
    ...(kernel !== undefined && { kernel }),
    ...(arch && { arch }),
    ...(page !== undefined && { pageSize: Number(page) * 1024 }),
  };
}

function archOf(tree: SourceTree): Arch | undefined {
  const text = tree.text("proc/sys/kernel/arch");
  const named = text === "aarch64" ? "arm64" : ARCHES.find((arch) => arch === text);
  return named ?? (tree.isLive ? NODE_ARCH[process.arch] : undefined);
}

const TYPE1 = "sys/module/vfio_iommu_type1";

/** The modules that make up VFIO, and their parameters. A module that is not loaded gets its defaults. */
export function captureModules(
  tree: SourceTree,
  hasIommu: boolean,
): Pick<HostFile, "modules" | "iommufd" | "vfio_container"> {
  const iommufd = tree.exists("sys/module/iommufd") || tree.exists("dev/iommu");
  const spapr = tree.exists("sys/module/vfio_iommu_spapr_tce");
  const vfio = tree.exists("sys/module/vfio");
  const type1 = tree.exists(TYPE1);
  const container = spapr ? "spapr" : !type1 && vfio && iommufd ? "iommufd" : undefined;
  if (!vfio) tree.miss("VFIO is not loaded: default parameters assumed (modprobe vfio-pci, then capture again)");
  const unsafe = flag(tree, "sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
  const limit = tree.number(`${TYPE1}/parameters/dma_entry_limit`);
  return {
    ...(container && { vfio_container: container }),
    iommufd,
    modules: {
      // null: the kernel is built without it. Unknown while VFIO is not loaded; off is how it boots.
      vfio: { enable_unsafe_noiommu_mode: unsafe ?? (vfio || hasIommu ? null : false) },
      vfio_iommu_type1: {
        ...(limit !== undefined && { dma_entry_limit: limit }),
        allow_unsafe_interrupts: flag(tree, `${TYPE1}/parameters/allow_unsafe_interrupts`),
        disable_hugepages: flag(tree, `${TYPE1}/parameters/disable_hugepages`),
      },
      ...vfioPci(tree),
      iommufd: { allow_unsafe_interrupts: flag(tree, "sys/module/iommufd/parameters/allow_unsafe_interrupts") },
    },
  };
}

/** The parameter is there where VGA access is built in (vfio_pci.c). */
function vfioPci(tree: SourceTree): Pick<NonNullable<HostFile["modules"]>, "vfio_pci"> {
  if (!tree.exists("sys/module/vfio_pci")) return {};
  const disabled = flag(tree, "sys/module/vfio_pci/parameters/disable_vga");
  return { vfio_pci: { vga: disabled !== undefined, ...(disabled && { disable_vga: true }) } };
}

/** param_get_bool(). */
function flag(tree: SourceTree, path: string): boolean | undefined {
  const text = tree.text(path)?.trim();
  return text === "Y" ? true : text === "N" ? false : undefined;
}
