/**
 * What CAP and ECAP of Intel VT-d say beyond scalable mode with first-stage tables when the IOMMU nests (VT-d specification, "Capability
 * Register", "Extended Capability Register"; the kernel's masks are in intel/iommu.h).
 */

/** First-stage tables of five levels (FS5LP). */
export const VTD_NESTING_CAP = 1n << 60n;

/**
 * Device TLBs (DT, 2), nested translation (NEST, 26), page requests (PRS, 29), supervisor requests (SRS, 31), extended accessed flags (EAFS, 34),
 * PASIDs of 20 bits (PSS, 35-39, is 19), PASIDs (40), page-request draining (PDS, 42), second-stage translation (SSTS, 46).
 */
export const VTD_NESTING_ECAP =
  (1n << 2n) |
  (1n << 26n) |
  (1n << 29n) |
  (1n << 31n) |
  (1n << 34n) |
  (19n << 35n) |
  (1n << 40n) |
  (1n << 42n) |
  (1n << 46n);
