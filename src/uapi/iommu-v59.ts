import { IommuGpasidBindDataVtd, IommuInvAddrInfo, IommuInvPasidInfo } from "./iommu-v510.ts";
import { array, overlay, struct, u8, u32, u64 } from "./layout.ts";

/** <linux/iommu.h> of Linux 5.8 and 5.9, where it differs from 5.10's (iommu-v510.ts): no `argsz`, anonymous unions. */

/** As IommuCacheInvalidateInfo. */
export const IommuCacheInvalidateInfoV59 = struct("iommu_cache_invalidate_info_v59", {
  version: u32,
  cache: u8,
  granularity: u8,
  padding: array(u8, 2),
  pasid_info: IommuInvPasidInfo,
  addr_info: overlay("pasid_info", IommuInvAddrInfo),
});

/** As IommuGpasidBindData. */
export const IommuGpasidBindDataV59 = struct("iommu_gpasid_bind_data_v59", {
  version: u32,
  format: u32,
  flags: u64,
  gpgd: u64,
  hpasid: u64,
  gpasid: u64,
  addr_width: u32,
  padding: array(u8, 12),
  vtd: IommuGpasidBindDataVtd,
});
