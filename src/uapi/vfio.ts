import { struct, u16, u32 } from "./layout.ts";

/**
 * The part of <linux/vfio.h> that every user needs: container and group requests, extensions, capability chains. The
 * rest of the header is in the vfio-*.ts files beside this one.
 *
 * Request numbers are those of the plain encoding (see ioctl.ts). Several are used more than once; the kind of file
 * decides what they mean: 0x3b70 is VFIO_IOMMU_GET_INFO on a container and VFIO_DEVICE_GET_PCI_HOT_RESET_INFO on a
 * device.
 *
 * Every structure begins with `argsz`, the bytes that the caller has room for. Too few for the fixed part is EINVAL; a
 * kernel that has more to say than fits writes the number it needs there.
 */

/** What VFIO_GET_API_VERSION returns. */
export const VFIO_API_VERSION = 0;

// Container requests that work without an IOMMU type.

/** Returns VFIO_API_VERSION. No argument. */
export const VFIO_GET_API_VERSION = 0x3b64;
/** Argument: an extension id by value. Returns 0 for no, something positive for yes. */
export const VFIO_CHECK_EXTENSION = 0x3b65;
/**
 * Argument: one of the IOMMU types by value. EINVAL without a group in the container, ENODEV when no group takes the
 * type.
 */
export const VFIO_SET_IOMMU = 0x3b66;

// Group requests.

/** Argument: VfioGroupStatus. */
export const VFIO_GROUP_GET_STATUS = 0x3b67;
/**
 * Argument: a pointer to the container's descriptor, an s32. EINVAL when the group has a container already or the
 * descriptor is no container, EBADF when it is no descriptor.
 */
export const VFIO_GROUP_SET_CONTAINER = 0x3b68;
/** No argument. EBUSY while devices of the group are open. */
export const VFIO_GROUP_UNSET_CONTAINER = 0x3b69;
/** Argument: the device's name as a C string. Returns a descriptor. */
export const VFIO_GROUP_GET_DEVICE_FD = 0x3b6a;

// IOMMU types (for VFIO_SET_IOMMU) and extensions (for VFIO_CHECK_EXTENSION) share one number space.

/** IOMMU with map and unmap, version 1: unmap may cut into a mapping and then takes all of it. */
export const VFIO_TYPE1_IOMMU = 1;
/** POWER server IOMMU, version 1: one window, enabled and disabled as a whole. */
export const VFIO_SPAPR_TCE_IOMMU = 2;
/** Type1 whose unmap never bisects a mapping. */
export const VFIO_TYPE1v2_IOMMU = 3;
/** DMA is cache coherent for every group in the container. */
export const VFIO_DMA_CC_IOMMU = 4;
/** POWER's Enhanced Error Handling. */
export const VFIO_EEH = 5;
/** Type1 v2 on a nesting-parent domain. Up to 6.12; no kernel ever offered a way to nest on it. */
export const VFIO_TYPE1_NESTING_IOMMU = 6;
/** The same number once it was retired: SET_IOMMU takes it as v2, CHECK_EXTENSION denies it (35890f85573c). */
export const __VFIO_RESERVED_TYPE1_NESTING_IOMMU = 6;
/** POWER server IOMMU, version 2: memory is registered first, windows come and go. */
export const VFIO_SPAPR_TCE_v2_IOMMU = 7;
/** No IOMMU: devices are reachable, mapping is not. Needs CAP_SYS_RAWIO and a module parameter. */
export const VFIO_NOIOMMU_IOMMU = 8;
/** VFIO_DMA_UNMAP_FLAG_ALL works. */
export const VFIO_UNMAP_ALL = 9;
/** VFIO_DMA_MAP_FLAG_VADDR and VFIO_DMA_UNMAP_FLAG_VADDR work. */
export const VFIO_UPDATE_VADDR = 10;

/**
 * Head of each capability behind an info structure. Out. `next` is the offset of the next one in bytes from the start
 * of the info structure, 0 in the last. `version` counts changes of the one capability's layout. Source: vfio.h.
 */
export const VfioInfoCapHeader = struct("vfio_info_cap_header", { id: u16, version: u16, next: u32 });

/** All devices of the group are bound to VFIO drivers or to nothing that could do DMA. */
export const VFIO_GROUP_FLAGS_VIABLE = 1 << 0;
/** The group is in a container. */
export const VFIO_GROUP_FLAGS_CONTAINER_SET = 1 << 1;

/**
 * Argument of VFIO_GROUP_GET_STATUS. In: argsz (EINVAL below 8). Out: flags, a set of VFIO_GROUP_FLAGS_*. argsz comes
 * back as it was. Source: vfio.h.
 */
export const VfioGroupStatus = struct("vfio_group_status", { argsz: u32, flags: u32 });
