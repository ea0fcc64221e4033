/**
 * Fault reason codes of VT-d scalable mode that this model can report, as the hardware puts them into its fault records
 * (VT-d specification, "Fault Reason Encodings"; Linux prints them from
 * drivers/iommu/intel/dmar.c:dma_remap_sm_fault_reasons).
 */
export const FAULT_REASONS = {
  noContext: { code: 0x41, text: "the device has no context entry: nothing translates requests with a PASID for it" },
  pasidTooLarge: { code: 0x46, text: "the PASID is beyond the device's PASID table" },
  directoryUnreachable: { code: 0x50, text: "the PASID directory cannot be read" },
  directoryNotPresent: { code: 0x51, text: "the PASID directory entry is not present" },
  directoryReserved: { code: 0x52, text: "the PASID directory entry has reserved bits set" },
  entryUnreachable: { code: 0x58, text: "the PASID table cannot be read" },
  entryNotPresent: { code: 0x59, text: "the PASID table entry is not present: nothing is bound to this PASID" },
  entryReserved: { code: 0x5a, text: "the PASID table entry has reserved bits set" },
  entryInvalid: { code: 0x5b, text: "the PASID table entry asks for a translation that is not supported there" },
  executeDisabled: { code: 0x5c, text: "execute requests are off in the PASID table entry (ERE)" },
  supervisorDisabled: { code: 0x5d, text: "supervisor requests are off in the PASID table entry (SRE)" },
  notPresent: { code: 0x71, text: "the first-level entry is not present" },
  reserved: { code: 0x72, text: "a first-level entry has reserved bits set" },
  beyondGuest: { code: 0x74, text: "a first-level entry points beyond the guest's address width" },
  rootUnreadable: {
    code: 0x75,
    text: "the page of the first-level table's root is not mapped for reading (second level)",
  },
  tableUnreadable: { code: 0x76, text: "a page of the first-level table is not mapped for reading (second level)" },
  tableUnwritable: {
    code: 0x77,
    text: "accessed and dirty bits cannot be written: a page of the first-level table is not mapped for writing (second level)",
  },
  secondUnreachable: { code: 0x78, text: "a second-level table cannot be read" },
  secondPermission: { code: 0x79, text: "the second level does not map the page for this access" },
  secondReserved: { code: 0x7a, text: "a second-level entry has reserved bits set" },
  secondPointer: { code: 0x7b, text: "the PASID table entry has no usable second-level table" },
  notCanonical: { code: 0x80, text: "the address is not canonical" },
  supervisorPage: { code: 0x81, text: "a user request for a supervisor page (U/S is 0)" },
  noExecute: { code: 0x82, text: "the page cannot be executed" },
  beyondSecond: { code: 0x84, text: "the address is beyond the second level's width" },
  noWrite: { code: 0x85, text: "the page is read-only (R/W is 0)" },
} as const satisfies Record<string, { readonly code: number; readonly text: string }>;

export type FaultReason = keyof typeof FAULT_REASONS;

/** "0x71: the first-level entry is not present" */
export function describeFault(reason: FaultReason): string {
  const { code, text } = FAULT_REASONS[reason];
  return `VT-d fault 0x${code.toString(16)}: ${text}`;
}

/**
 * What a device can wait for, when it has page requests: a translation that is missing or allows too little, in either
 * level. It answers its translation request with "nothing is allowed", not with an error.
 */
export function isRecoverable(reason: FaultReason): boolean {
  return RECOVERABLE.has(reason);
}

const RECOVERABLE: ReadonlySet<FaultReason> = new Set([
  "notPresent",
  "noWrite",
  "supervisorPage",
  "noExecute",
  "secondPermission",
]);
