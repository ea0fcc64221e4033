import type { ModelContext } from "../vfio/model-context.ts";
import type { Requesters } from "../vfio/requesters.ts";
import type { IommufdContext } from "./context.ts";
import type { LockedByUser } from "./memory/pin-account.ts";
import type { PasidHardware } from "./nesting/pasid-hardware.ts";
import type { SelftestGround } from "./selftest/ground.ts";

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
  /** All that are open. */
  readonly contexts: Set<IommufdContext>;
  /** What the kernel's own tests use; undefined on hosts whose IOMMU was not made for them. */
  readonly selftest: SelftestGround | undefined;
}
