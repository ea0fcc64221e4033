import type { Cause, RuleSet } from "../rule.ts";
import { BDF, re } from "./pattern.ts";

/** What stands behind a DMA to an address that is not mapped. */
const NOT_MAPPED: readonly Cause[] = [
  {
    cause:
      "the device was told to access an address that nobody has mapped for it: a driver's defect (of the guest, when a guest has it), or memory that was unmapped too early",
    cure: "see whose device it is; of a program of yours: run it with uvfio run --sanitize, which names DMA after unmap",
    tell: "with a guest: the address is beyond its memory, or in no region of info mtree",
  },
  {
    cause:
      "the device still works for somebody who had it before (firmware, a kernel before kexec, a guest that was ended): it was never stopped",
    cure: "harmless when it ends once the new driver resets the device; else switch off in the firmware what uses it (option ROM, USB legacy support)",
    tell: "it comes only right after boot, or right after a guest has ended",
  },
  {
    cause:
      "the device sends its requests with another function's number (requester id), which has no mappings: some SATA and USB controllers do",
    cure: "a kernel with a quirk for the device (DMA alias), or the other function into the same guest",
    tell: "the function in the message does not exist: lspci -s",
  },
];

/** What the fault reasons of VT-d mean (its specification, Fault Reason Encodings; drivers/iommu/intel/dmar.c). */
const REASONS: readonly (readonly [ids: string, id: string, says: string, causes: readonly Cause[]])[] = [
  [
    "0?1|0x0?1",
    "root",
    "the root entry of the device's bus is not present",
    [
      {
        cause:
          "the IOMMU has nothing for this bus: the requester is no device that the kernel knows (a hidden function, an alias)",
        cure: "lspci -s; a kernel with a quirk for the device; iommu=pt keeps the host's own devices out of it",
      },
    ],
  ],
  [
    "0?2|0x0?2",
    "context",
    "the context entry of the device is not present",
    [
      {
        cause:
          "no domain is attached for this requester: the kernel does not know it (a hidden function, a device behind a bridge that sends with its own number), or its driver let go of it while it worked",
        cure: "lspci -s; a kernel with a quirk for the device (DMA alias)",
      },
      NOT_MAPPED[1]!,
    ],
  ],
  ["0?5|0x0?5", "write", "a write to an address that is not mapped, or not for writing", NOT_MAPPED],
  ["0?6|0x0?6", "read", "a read of an address that is not mapped", NOT_MAPPED],
  [
    "0?7|0x0?7|12|0xc|0x0c",
    "table",
    "an entry of the page table is broken (reserved bits, an address that is too wide)",
    [
      {
        cause:
          "the table has an address or bits that this unit does not take: a unit with fewer features than its table was made for, or a defect of the kernel",
        cure: "a newer kernel; intel_iommu=sp_off as a test",
      },
    ],
  ],
  [
    "0?4|0x0?4",
    "width",
    "an address beyond what the unit translates",
    [
      {
        cause: "the device was given an address with more bits than the IOMMU has",
        cure: "guest: fewer address bits for its CPU; host: DMA mask of the driver",
      },
    ],
  ],
  [
    "37|0x25",
    "compat-irq",
    "an interrupt that is not remapped was refused",
    [
      {
        cause:
          "a device was set up for interrupts by somebody who does not remap them: a guest with its own idea of the device, or firmware before a kexec",
        cure: "harmless once; else boot anew, or intremap=off as a test",
      },
    ],
  ],
  [
    "3[4-6]|38|0x2[2-46]",
    "irq",
    "an interrupt was refused (its remapping entry is absent, or belongs to another device)",
    [
      {
        cause:
          "the device raises an interrupt that was taken away or was never given to it: left over from an earlier user, or a device that sends with another number",
        cure: "harmless once; else a newer kernel or firmware of the card",
      },
    ],
  ],
];

/** The kernel's drivers/iommu: Intel (DMAR), AMD (AMD-Vi), ARM (SMMU), virtio, and what concerns all of them. */
export const KERNEL_IOMMU: RuleSet = {
  program: "the kernel (iommu)",
  rules: [
    ...REASONS.map(([ids, id, says, causes]) => ({
      id: `dmar-fault-${id}`,
      pattern: re(
        `DMAR:.*\\[(?<what>[\\w -]*?)(?: NO_PASID| PASID (?<pasid>0x[0-9a-f]+))?\\] Request device \\[?(?<short>(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7])\\]?.*fault (?:addr|index) (?:0x)?(?<address>[0-9a-f]+).*\\[?fault reason (?:${ids})\\b`,
      ),
      says: `the IOMMU refused {short} ({what}, address 0x{address}): ${says}`,
      causes,
    })),
    {
      id: "dmar-fault",
      pattern: re(
        "DMAR:.*\\[(?<what>[\\w -]*?)(?: NO_PASID| PASID (?<pasid>0x[0-9a-f]+))?\\] Request device \\[?(?<short>(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7])\\]?.*fault (?:addr|index) (?:0x)?(?<address>[0-9a-f]+)(?:.*fault reason (?<reason>\\w+)\\]?(?<words>.*))?",
      ),
      says: "the IOMMU refused {short} ({what}, address 0x{address}, reason {reason}{words})",
      causes: NOT_MAPPED,
    },
    {
      id: "dmar-status",
      pattern: /DRHD: handling fault status reg|dmar_fault: \d+ callbacks suppressed/i,
      kind: "consequence",
      says: "the Intel IOMMU has refused something; the next line says what",
    },
    {
      id: "amd-page-fault",
      pattern: re(
        `(?:${BDF}: )?AMD-Vi: Event logged \\[\\s*IO_PAGE_FAULT (?:device=(?<short>[0-9a-f:.]+) )?(?:domain=(?<domain>0x[0-9a-f]+) )?address=(?<address>0x[0-9a-f]+) flags=(?<flags>0x[0-9a-f]+)`,
      ),
      says: "the IOMMU refused {bdf}{short} the address {address} (flags {flags}, domain {domain})",
      causes: NOT_MAPPED,
    },
    {
      id: "amd-invalid-request",
      pattern: re(
        `(?:${BDF}: )?AMD-Vi: Event logged \\[\\s*INVALID_(?:DEVICE|PPR)_REQUEST (?:device=(?<short>[0-9a-f:.]+) )?.*address=(?<address>0x[0-9a-f]+) flags=(?<flags>0x[0-9a-f]+)`,
      ),
      says: "the IOMMU refused {bdf}{short} a request that it may not make (address {address}, flags {flags})",
      causes: [
        {
          cause:
            "firmware's table (IVRS) does not say what the device may do (interrupts of the I/O APIC at 00:14.0 or 00:00.1 are the usual ones), or the device asks for translated addresses without leave",
          cure: "a newer firmware; ivrs_ioapic= on the kernel's command line with the numbers of lspci",
        },
      ],
    },
    {
      id: "amd-timeout",
      pattern:
        /AMD-Vi: Completion-Wait loop timed out|AMD-Vi: Event logged \[\s*IOTLB_INV_TIMEOUT device=(?<short>[0-9a-f:.]+)/i,
      says: "the IOMMU waits for a device {short} that does not answer an invalidation",
      causes: [
        {
          cause:
            "a device with its own cache of translations (ATS) hung or lost its power: GPUs of AMD after a failed reset are the usual ones",
          cure: "boot the host from power off; vendor-reset; pci=noats as a test",
        },
      ],
    },
    {
      id: "amd-table",
      pattern:
        /AMD-Vi: Event logged \[\s*(?<what>ILLEGAL_DEV_TABLE_ENTRY|DEV_TAB_HARDWARE_ERROR|PAGE_TAB_HARDWARE_ERROR|ILLEGAL_COMMAND_ERROR|COMMAND_HARDWARE_ERROR|RMP_\w+)/i,
      says: "the IOMMU reports {what}",
      causes: [
        {
          cause: "its tables are broken, or memory is: a defect of the kernel, the firmware or the hardware",
          cure: "a newer kernel and firmware; a test of the memory",
        },
      ],
    },
    {
      id: "intel-timeout",
      pattern:
        /DMAR: VT-d detected (?<what>Invalidation (?:Time-out|Queue|Completion) Error)(?:: (?:SID|Reason) (?<sid>[0-9a-f]+))?|Device-?TLB invalidation (?:timed out|timeout)/i,
      says: "the Intel IOMMU reports: {what} ({sid})",
      causes: [
        {
          cause: "a device with its own cache of translations (ATS) does not answer: it hung, or its link is gone",
          cure: "boot from power off; pci=noats as a test",
        },
      ],
    },
    {
      id: "intel-width",
      pattern:
        /DMAR: \S+: iommu width \((?<bits>\d+)\) is not sufficient for the mapped address \((?<address>[0-9a-f]+)\)/i,
      says: "the IOMMU has {bits} address bits, and what is mapped already reaches 0x{address}",
      certain: true,
      causes: [
        {
          cause: "the device is added to a container that maps more than its IOMMU translates",
          cure: "a guest whose memory and BARs stay below {bits} bits (-cpu host,host-phys-bits-limit={bits}), or a container of its own for the device",
        },
      ],
    },
    {
      id: "intel-pte",
      pattern: /DMAR: ERROR: DMA PTE for vPFN (?<pfn>0x[0-9a-f]+) already set/i,
      says: "an address is mapped a second time in the IOMMU's table (page {pfn})",
      causes: [
        {
          cause: "a defect of the kernel, or the same memory mapped by two who share a table",
          cure: "a newer kernel; report it to the kernel's IOMMU list",
        },
      ],
    },
    {
      id: "no-dmar",
      pattern:
        /DMAR: No DMAR devices found|No ACPI DMAR table found|DMAR: (?:Parse DMAR table failure|.*No DRHD structure found)|AMD-Vi: .*(?:IVRS table error|IOMMU not currently supported when SME is active)/i,
      says: "the kernel finds no IOMMU that it can use",
      certain: true,
      causes: [
        {
          cause:
            "firmware does not describe one: VT-d or AMD-Vi (IOMMU, SVM) is switched off in its setup, its table is broken, or the machine has none",
          cure: "switch it on in the firmware; a newer firmware; then dmesg | grep -e DMAR -e AMD-Vi",
        },
      ],
    },
    {
      id: "iommu-disabled",
      pattern: /DMAR: IOMMU disabled|AMD-Vi: (?:AMD IOMMU disabled|Disable IOMMU)/i,
      says: "the IOMMU is switched off on the kernel's command line",
      certain: true,
      causes: [
        {
          cause: "intel_iommu=off, amd_iommu=off or iommu=off stands there, or the kernel has it off by default",
          cure: "intel_iommu=on (or amd_iommu=on) in the boot loader's configuration, and boot",
        },
      ],
    },
    {
      id: "irq-remapping-failed",
      pattern:
        /Failed to enable irq remapping\. You are vulnerable|DMAR-IR: .*(?:interrupt remapping will be disabled|failed to set(?:up)? irq remapping)|AMD-Vi: Disabling interrupt remapping|ioapic \d+ has no mapping iommu/i,
      says: "interrupt remapping could not be switched on",
      certain: true,
      causes: [
        {
          cause:
            "firmware's table does not go with the machine (an I/O APIC without an IOMMU), or the chipset's remapping is known to be broken",
          cure: "a newer firmware; else allow_unsafe_interrupts=1 of vfio_iommu_type1 where guests are trusted",
        },
      ],
    },
    {
      id: "irq-remapping-off",
      pattern:
        /DMAR-IR: Not enabling interrupt remapping|Not enabling interrupt remapping due to skipped IO-APIC setup|x2apic is disabled because BIOS sets x2apic opt out bit/i,
      says: "interrupts are not remapped, or not with x2APIC",
      causes: [
        {
          cause: "firmware asks for it (x2APIC opt-out), or intremap=off stands on the kernel's command line",
          cure: "x2APIC on in the firmware; intremap=no_x2apic_optout",
        },
      ],
    },
    {
      id: "broken-bios",
      pattern: /(?:DMAR|AMD-Vi): \[Firmware Bug\]:? ?(?<what>.*)|Your BIOS is broken; (?<what2>.*)/i,
      says: "the kernel finds a fault in the firmware's table: {what}{what2}",
      causes: [
        {
          cause: "a defect of the firmware; the kernel goes on as well as it can",
          cure: "a newer firmware; it matters when a device named there is to be given to a guest",
        },
      ],
    },
    {
      id: "smmu-v3-event",
      pattern: re(
        "arm-smmu-v3 \\S+ (?:event (?<event>0x[0-9a-f]+) received:|event: (?<name>[A-Z]_\\w+) client: (?<client>[\\w:.() -]+?) sid: (?<sid>0x[0-9a-f]+)(?:.*iova: (?<address>0x[0-9a-f]+))?)(?<rest>.*)",
      ),
      says: "the SMMU refused a request: {name}{event} of {client} {sid} at {address}{rest}",
      causes: [
        {
          cause:
            "event 0x10 (F_TRANSLATION): the address is not mapped; 0x13 (F_PERMISSION): not for that; 0x02, 0x04 (C_BAD_STREAMID, C_BAD_STE): nobody has the device; 0x03 (F_STE_FETCH) and others: the SMMU's tables",
          cure: "whose device it is follows from its stream id (firmware's IORT or device tree); a guest's driver, or a device that was not stopped; of a program of yours: uvfio run --sanitize",
          tell: "the second double word of the event is the stream id, the fourth and third together the address",
        },
      ],
    },
    {
      id: "smmu-fault",
      pattern: re(
        "arm-smmu \\S+ Unhandled context fault: fsr=(?<fsr>0x[0-9a-f]+), iova=(?<address>0x[0-9a-f]+)(?<rest>.*)",
      ),
      says: "the SMMU refused a request to {address} (fsr {fsr}{rest})",
      causes: NOT_MAPPED,
    },
    {
      id: "smmu-cmd",
      pattern: /arm-smmu-v3 \S+ (?:CMD_SYNC timeout|CMDQ error|GERROR|unexpected (?:global error|ATC))(?<what>.*)/i,
      says: "the SMMU's queue of commands is stuck{what}",
      causes: [
        {
          cause: "a device does not answer an invalidation (ATS), or the SMMU's tables are broken",
          cure: "boot from power off; pci=noats as a test",
        },
      ],
    },
    {
      id: "attach-failed",
      pattern: re(
        "(?:cannot attach to SMMU|Failed to attach (?:device )?to (?:identity|domain)|iommu: .*[Ff]ailed to attach|Failed to (?:setup|set up) iommu ops)(?<what>.*)",
      ),
      says: "the kernel could not attach a device to a domain{what}",
      causes: [
        {
          cause: "the IOMMU's driver refused the domain (another unit, width or coherence), or has no memory",
          cure: "look at the lines around it; a newer kernel",
        },
      ],
    },
    {
      id: "unaligned",
      pattern:
        /iommu: unaligned: iova (?<iova>0x[0-9a-f]+)(?: pa \S+)? size (?<size>0x[0-9a-f]+) min_pagesz (?<page>0x[0-9a-f]+)/i,
      says: "{iova} + {size} was to be mapped, and is no multiple of the IOMMU's smallest page {page}",
      certain: true,
      causes: [
        {
          cause: "the IOMMU's pages are larger than what was mapped",
          cure: "align to {page}; a kernel whose pages are as large",
        },
      ],
    },
    {
      id: "acs",
      pattern: re(`(?:${BDF}: )?(?:ACS|pcieport .*): (?:ACS violation|.*ACS.*not supported)`),
      says: "a port does not keep devices from each other (ACS)",
      causes: [
        {
          cause: "devices below it are in one group, or a request between them was refused",
          cure: "another slot; ACS on in the firmware",
        },
      ],
    },
    {
      id: "iommu-info",
      pattern:
        /(?:Adding (?:device \S+ )?to (?:iommu )?group|iommu: Default domain type|DMA domain TLB invalidation policy|DMAR: (?:Skip IOMMU disabling|Host address width|DRHD base|RMRR base|ATSR|RHSA|SATC|No (?:ATSR|RMRR|SATC) found|dmar\d|IOMMU enabled|Intel\(R\) Virtualization|\S+: Using Queued)|DMAR-IR: (?:Enabled IRQ|IOAPIC|HPET|Queued)|AMD-Vi: (?:Interrupt remapping enabled|Extended features|Found IOMMU|Virtual APIC|X2APIC|Using|IOMMU performance)|IOMMU performance counters|Removing from iommu group|ACPI: (?:DMAR|IVRS) 0x)/i,
      kind: "harmless",
      says: "what the kernel says of its IOMMU at boot",
    },
  ],
};
