import type { ModelContext } from "../vfio/model-context.ts";
import type { Requesters } from "../vfio/requesters.ts";
import type { LockedByUser } from "./memory/pin-account.ts";
import type { PasidHardware } from "./nesting/pasid-hardware.ts";

/** What all iommufds of a host share. */
export interface IommufdModule {
  readonly context: ModelContext;
  readonly lockedByUser: LockedByUser;
  /** Whether the kernel was built with VFIO's no-IOMMU mode. */
  readonly noIommuBuilt: boolean;
  /** The devices as the IOMMUs see them. */
  readonly requesters: Requesters;
  /** The IOMMUs of a host that nests. */
  readonly pasidHardware: PasidHardware | undefined;
}
