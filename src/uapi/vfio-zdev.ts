/** What VFIO tells of PCI functions on s390 (include/uapi/linux/vfio_zdev.h): capabilities of VFIO_DEVICE_GET_INFO. */
import { flexible, struct, u8, u16, u32, u64 } from "./layout.ts";
import { VfioInfoCapHeader } from "./vfio.ts";

/** What firmware says of the function (CLP Query PCI Function). Version 2. */
export const VfioDeviceInfoCapZpciBase = struct("vfio_device_info_cap_zpci_base", {
  header: VfioInfoCapHeader,
  /** First and last IOVA that the function can use. */
  start_dma: u64,
  end_dma: u64,
  /** Physical channel, virtual function number. */
  pchid: u16,
  vfn: u16,
  /** Bytes of a function measurement block. */
  fmb_length: u16,
  /** Function type. */
  pft: u8,
  /** Function group. */
  gid: u8,
  /** Function handle (version 2). */
  fh: u32,
});

/** What firmware says of the function's group (CLP Query PCI Function Group). Version 2. */
export const VfioDeviceInfoCapZpciGroup = struct("vfio_device_info_cap_zpci_group", {
  header: VfioInfoCapHeader,
  /** DMA address space mask. */
  dasm: u64,
  /** Where message signalled interrupts are written to. */
  msi_addr: u64,
  flags: u64,
  /** Measurement block update interval. */
  mui: u16,
  /** Maximum number of MSIs. */
  noi: u16,
  /** Maximum store block length, bytes. */
  maxstbl: u16,
  /** Supported PCI version. */
  version: u8,
  reserved: u8,
  /** Maximum store block length with interpretation (version 2). */
  imaxstbl: u16,
});

/** The function's utility string, in EBCDIC. Version 1. */
export const VfioDeviceInfoCapZpciUtil = struct("vfio_device_info_cap_zpci_util", {
  header: VfioInfoCapHeader,
  size: u32,
  util_str: flexible(u8),
});

/** The internal path to the function. Version 1. */
export const VfioDeviceInfoCapZpciPfip = struct("vfio_device_info_cap_zpci_pfip", {
  header: VfioInfoCapHeader,
  size: u32,
  pfip: flexible(u8),
});

/** A refresh of the function's DMA tables is wanted after mappings appear (clp_qry_pci_group_rsp.refresh). */
export const VFIO_DEVICE_INFO_ZPCI_FLAG_REFRESH = 1;
