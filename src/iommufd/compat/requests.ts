import { fail, hex } from "../../kernel/errors.ts";
import { CAP_SYS_RAWIO, type Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import {
  VFIO_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_DMA_CC_IOMMU,
  VFIO_GET_API_VERSION,
  VFIO_NOIOMMU_IOMMU,
  VFIO_SET_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
} from "../../uapi/vfio.ts";
import { VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA } from "../../uapi/vfio-type1.ts";
import type { IommufdContext } from "../context.ts";
import { compatIoas } from "../requests/object-requests.ts";
import { getInfo } from "./info.ts";
import { mapDma, unmapDma } from "./map.ts";

/** The requests of a VFIO container on an iommufd (vfio_compat.c:iommufd_vfio_ioctl). */
export function compatRequest(context: IommufdContext, task: Task, request: number, arg: Word): number {
  switch (request) {
    case VFIO_GET_API_VERSION:
      return VFIO_API_VERSION;
    case VFIO_SET_IOMMU:
      return setIommu(context, task, arg);
    case VFIO_CHECK_EXTENSION:
      return checkExtension(context, arg);
    case VFIO_IOMMU_GET_INFO:
      return getInfo(context, task, arg);
    case VFIO_IOMMU_MAP_DMA:
      return mapDma(context, task, arg);
    case VFIO_IOMMU_UNMAP_DMA:
      return unmapDma(context, task, arg);
    default:
      fail("ENOTTY", `an iommufd knows no request ${hex(request)}`);
  }
}

/** vfio_compat.c:iommufd_vfio_check_extension */
function checkExtension(context: IommufdContext, type: Word): number {
  switch (type) {
    case VFIO_TYPE1_IOMMU:
    case VFIO_TYPE1v2_IOMMU:
    case VFIO_UNMAP_ALL:
      return context.noIommu ? 0 : 1;
    case VFIO_NOIOMMU_IOMMU:
      return context.module.noIommuBuilt ? 1 : 0;
    case VFIO_DMA_CC_IOMMU:
      return compatIoas(context).hwpts.every(({ paging }) => paging.unit.cacheCoherent) ? 1 : 0;
    default:
      return 0;
  }
}

/** vfio_compat.c:iommufd_vfio_set_iommu. It can be called again, with another type too. */
function setIommu(context: IommufdContext, task: Task, type: Word): number {
  if (type === VFIO_NOIOMMU_IOMMU && context.noIommu && context.module.noIommuBuilt) {
    if (!task.capable(CAP_SYS_RAWIO)) fail("EPERM", "a container without IOMMU takes CAP_SYS_RAWIO");
    return 0;
  }
  if (context.noIommu) fail("EINVAL", `type ${type} needs an IOMMU, the group in this iommufd has none`);
  if (type !== VFIO_TYPE1_IOMMU && type !== VFIO_TYPE1v2_IOMMU) {
    fail("EINVAL", `an iommufd offers VFIO's types 1 and 3, not ${type}`);
  }
  const { table } = compatIoas(context);
  // version 1 unmaps parts of mappings
  if (type === VFIO_TYPE1_IOMMU) table.disableLargePages();
  return 0;
}
