import type { FaultPoints } from "../kernel/fault-points.ts";
import type { ModelContext } from "../vfio/model-context.ts";
import type { Requesters } from "../vfio/requesters.ts";
import type { PinAccounts } from "./memory/pin-account.ts";
import type { PasidHardware } from "./nesting/pasid-hardware.ts";
import type { IommufdObject } from "./object-table.ts";
import type { SelftestGround } from "./selftest/ground.ts";

/** An iommufd, as others of the host may look into it. */
export interface OpenIommufd {
  readonly objects: Iterable<IommufdObject>;
}

/** What all iommufds of a host share. */
export interface IommufdModule {
  readonly context: ModelContext;
  /** Whose limits what they hold counts against. */
  readonly accounts: PinAccounts;
  /** Whether the kernel was built with VFIO's no-IOMMU mode. */
  readonly noIommuBuilt: boolean;
  /** The devices as the IOMMUs see them. */
  readonly requesters: Requesters;
  /** The IOMMUs of a host that nests. */
  readonly pasidHardware: PasidHardware | undefined;
  /** All that are open. */
  readonly contexts: Set<OpenIommufd>;
  /** What the kernel's own tests use; undefined on hosts whose IOMMU was not made for them. */
  readonly selftest: SelftestGround | undefined;
  /** Faults that programs inject; undefined where the kernel was not built for that. */
  readonly faults: FaultPoints | undefined;
}
