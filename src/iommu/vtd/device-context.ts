import type { TranslationCache } from "./iotlb.ts";
import type { TableMemory } from "./table-memory.ts";

/** What the unit knows of a device: its scalable-mode context entry. */
export interface DeviceContext {
  /** Where its PASID directory and tables lie: host memory, or the guest's for a table that the guest keeps itself. */
  readonly tables: TableMemory;
  /** Address of the PASID directory in there. */
  readonly directory: bigint;
  /** Bits of PASID that the table has. */
  readonly bits: number;
  /**
   * For a table that the guest keeps: the domain and second level that everything in it goes through, whatever its
   * entries say; they can only give first-level tables.
   */
  readonly guest?: { readonly domain: number; readonly secondLevel: bigint };
  /**
   * Whether it may ask for pages that are missing (PRI) instead of failing at once. Who waits says so with each
   * request.
   */
  readonly pageRequests: boolean;
  /** What it caches itself, when its address translation service is on (ATS). */
  readonly deviceTlb?: TranslationCache;
}
