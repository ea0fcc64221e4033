import { FileDescription } from "../kernel/file-description.ts";
import type { RequestDialect } from "../uapi/requests/dialect.ts";
import { IOMMUFD_DIALECT } from "../uapi/requests/dialects.ts";
import type { GroupIommufd } from "./group-iommufd.ts";

/** An open /dev/iommu, or the /dev/vfio/vfio of a host where it stands for VFIO's container. */
export abstract class IommufdDescription extends FileDescription {
  override readonly kind = "iommufd";
  abstract readonly forGroups: GroupIommufd;

  override get dialect(): RequestDialect {
    return IOMMUFD_DIALECT;
  }
}
