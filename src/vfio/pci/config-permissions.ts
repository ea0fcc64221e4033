import * as pci from "../../devices/pci/registers.ts";
import type { Release } from "../../kernel/releases.ts";
import { viewOf } from "../../uapi/layout.ts";

/**
 * How accesses to a part of config space are served.
 * - masked: bit by bit, by the two masks
 * - direct: read from the device but for the list pointers, never written
 * - raw: read from and written to the device
 */
export type ConfigMode = "masked" | "direct" | "raw" | "directReadRawWrite";

/** What a user may do with one capability, or the header. Offsets count from its start. */
export interface ConfigPermissions {
  readonly mode: ConfigMode;
  /** Bits that live in the virtual copy instead of the device. */
  readonly virtual: Uint8Array;
  /** Bits that a write changes, in whichever of the two. */
  readonly writable: Uint8Array;
}

const ALL = 0xffff_ffff;
const NOTHING = new Uint8Array();

export const DIRECT: ConfigPermissions = { mode: "direct", virtual: NOTHING, writable: NOTHING };
const DIRECT_RAW: ConfigPermissions = { mode: "directReadRawWrite", virtual: NOTHING, writable: NOTHING };

/** [offset, bytes, virtual bits, writable bits] */
type Field = readonly [at: number, width: 1 | 2 | 4, virtual: number, writable: number];

function masked(size: number, fields: readonly Field[]): ConfigPermissions {
  const virtual = new Uint8Array(size);
  const writable = new Uint8Array(size);
  for (const [at, width, virtualBits, writableBits] of fields) {
    for (let i = 0; i < width; i++) {
      virtual[at + i] = (virtualBits >>> (i * 8)) & 0xff;
      writable[at + i] = (writableBits >>> (i * 8)) & 0xff;
    }
  }
  return { mode: "masked", virtual, writable };
}

/** The pointer to the next capability is virtual everywhere, so that capabilities can be left out of the list. */
const NEXT: Field = [pci.PCI_CAP_LIST_NEXT, 1, ALL, 0];
const EXTENDED_HEADER: Field = [0, 4, ALL, 0];

/** vfio_pci_config.c:init_pci_cap_basic_perm */
export const HEADER = masked(pci.PCI_STD_HEADER_SIZEOF, [
  [0, 4, ALL, 0],
  [pci.PCI_COMMAND, 2, pci.PCI_COMMAND_INTX_DISABLE, ALL],
  [pci.PCI_STATUS, 2, pci.PCI_STATUS_CAP_LIST, 0],
  [pci.PCI_CACHE_LINE_SIZE, 1, 0, ALL],
  [pci.PCI_LATENCY_TIMER, 1, 0, ALL],
  [pci.PCI_BIST, 1, 0, ALL],
  ...[0, 1, 2, 3, 4, 5].map((bar): Field => [pci.PCI_BASE_ADDRESS_0 + bar * 4, 4, ALL, ALL]),
  [pci.PCI_ROM_ADDRESS, 4, ALL, ALL],
  [pci.PCI_CAPABILITY_LIST, 1, ALL, 0],
  [pci.PCI_INTERRUPT_LINE, 1, ALL, ALL],
  [pci.PCI_INTERRUPT_PIN, 1, ALL, 0],
]);

const PME = pci.PCI_PM_CTRL_PME_ENABLE | pci.PCI_PM_CTRL_PME_STATUS;

/** Device control without phantom functions. */
const DEVCTL_WRITABLE = 0xffff & ~pci.PCI_EXP_DEVCTL_PHANTOM;

/**
 * Conventional capabilities by id (vfio_pci_init_perm_bits); MSI depends on the device, two on the release, the others
 * are DIRECT.
 */
const CAPABILITIES: ReadonlyMap<number, ConfigPermissions> = new Map([
  [
    pci.PCI_CAP_ID_PM,
    masked(8, [
      NEXT,
      [pci.PCI_PM_PMC, 2, pci.PCI_PM_CAP_PME_MASK, 0],
      // the state bits are read-only: the kernel itself changes the power state when they are written
      [pci.PCI_PM_CTRL, 4, PME, ~(PME | pci.PCI_PM_CTRL_STATE_MASK)],
    ]),
  ],
  [pci.PCI_CAP_ID_VPD, masked(8, [NEXT, [pci.PCI_VPD_ADDR, 2, ALL, ALL], [pci.PCI_VPD_DATA, 4, ALL, ALL]])],
  [pci.PCI_CAP_ID_PCIX, masked(24, [NEXT, [pci.PCI_X_CMD, 2, 0, ALL], [8, 4, 0, ALL]])],
  [pci.PCI_CAP_ID_VNDR, DIRECT_RAW],
]);

/**
 * Undefined (0), data link (4), surprise down (5), and poisoned TLP (12) up to TLP prefix blocked (25): pci_regs.h,
 * PCI_ERR_UNC_*.
 */
const UNCORRECTABLE_ERRORS = 0x03ff_f031;
const CORRECTABLE_ERRORS = 0x0000_f1c1;

/** Extended capabilities by id; the others are DIRECT. */
const EXTENDED: ReadonlyMap<number, ConfigPermissions> = new Map([
  [
    pci.PCI_EXT_CAP_ID_ERR,
    masked(0x2c, [
      EXTENDED_HEADER,
      [pci.PCI_ERR_UNCOR_STATUS, 4, 0, UNCORRECTABLE_ERRORS],
      [pci.PCI_ERR_UNCOR_MASK, 4, 0, UNCORRECTABLE_ERRORS],
      [pci.PCI_ERR_UNCOR_SEVER, 4, 0, UNCORRECTABLE_ERRORS],
      [pci.PCI_ERR_COR_STATUS, 4, 0, CORRECTABLE_ERRORS],
      [pci.PCI_ERR_COR_MASK, 4, 0, CORRECTABLE_ERRORS],
      [pci.PCI_ERR_CAP, 4, 0, pci.PCI_ERR_CAP_ECRC_ENABLES],
    ]),
  ],
  // writing which data to show is fine; the kernel allows it at the data register's offset (init_pci_ext_cap_pwr_perm)
  [pci.PCI_EXT_CAP_ID_PWR, masked(16, [EXTENDED_HEADER, [8, 1, 0, ALL]])],
  [pci.PCI_EXT_CAP_ID_VNDR, DIRECT_RAW],
  [pci.PCI_EXT_CAP_ID_DVSEC, DIRECT_RAW],
]);

export function capabilityPermissions(id: number, release: Release): ConfigPermissions {
  switch (id) {
    case pci.PCI_CAP_ID_EXP:
      return expressPermissions(release);
    case pci.PCI_CAP_ID_AF: {
      const reset: Field = [pci.PCI_AF_CTRL, 1, virtualReset(release, pci.PCI_AF_CTRL_FLR), pci.PCI_AF_CTRL_FLR];
      return masked(8, [NEXT, reset]);
    }
    default:
      return CAPABILITIES.get(id) ?? DIRECT;
  }
}

/** init_pci_cap_exp_perm */
function expressPermissions(release: Release): ConfigPermissions {
  const sizes = release.has("virtualPayload") ? pci.PCI_EXP_DEVCTL_PAYLOAD | pci.PCI_EXP_DEVCTL_READRQ : 0;
  const virtual = virtualReset(release, pci.PCI_EXP_DEVCTL_BCR_FLR) | sizes;
  return masked(60, [
    NEXT,
    [pci.PCI_EXP_DEVCTL, 2, virtual, DEVCTL_WRITABLE],
    [pci.PCI_EXP_DEVCTL2, 2, 0, ~pci.PCI_EXP_DEVCTL2_ARI],
  ]);
}

/** The bit that asks for a function-level reset, where the kernel keeps it from the device. */
function virtualReset(release: Release, bit: number): number {
  return release.has("virtualReset") ? bit : 0;
}

export function extendedPermissions(id: number): ConfigPermissions {
  return EXTENDED.get(id) ?? DIRECT;
}

/** MSI: addresses, data and the low flags are virtual, the kernel has its own in the device (init_pci_cap_msi_perm). */
export function msiPermissions(flags: number): ConfigPermissions {
  const wide = (flags & pci.PCI_MSI_FLAGS_64BIT) !== 0;
  const data = wide ? 12 : 8;
  const fields: Field[] = [NEXT, [pci.PCI_MSI_FLAGS, 1, ALL, ALL], [pci.PCI_MSI_ADDRESS_LO, 4, ALL, ALL]];
  if (wide) fields.push([pci.PCI_MSI_ADDRESS_LO + 4, 4, ALL, ALL]);
  fields.push([data, 2, ALL, ALL]);
  if (flags & pci.PCI_MSI_FLAGS_MASKBIT) fields.push([data + 4, 4, 0, ALL], [data + 8, 4, 0, ALL]);
  return masked(24, fields);
}

/** The little-endian bits of a mask at an offset; 0 beyond its end. */
export function maskBits(mask: Uint8Array, offset: number, width: number): number {
  if (offset + width <= mask.length) {
    const view = viewOf(mask);
    if (width === 4) return view.getUint32(offset, true);
    return width === 2 ? view.getUint16(offset, true) : view.getUint8(offset);
  }
  let bits = 0;
  for (let i = 0; i < width; i++) bits |= (mask[offset + i] ?? 0) << (i * 8);
  return bits >>> 0;
}
