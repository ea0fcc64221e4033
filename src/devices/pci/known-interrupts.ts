import type { PciIdentity } from "../description.ts";

/** Inclusive ranges of device ids by vendor. */
type Ids = ReadonlyMap<number, readonly (readonly [number, number])[]>;

/** Devices whose INTx vfio-pci hides because it cannot be masked (vfio_pci_core.c:vfio_pci_nointx). */
const WITHOUT_INTX: Ids = new Map([
  [
    0x8086,
    [
      [0x1563, 0x1563],
      [0x1572, 0x1572],
      [0x1574, 0x1574],
      [0x1580, 0x1581],
      [0x1583, 0x158b],
      [0x37d0, 0x37d2],
    ],
  ],
]);

/**
 * Devices whose INTx disable bit does not work (drivers/pci/quirks.c:quirk_broken_intx_masking,
 * mellanox_check_broken_intx_masking).
 */
const WITHOUT_MASKING: Ids = new Map([
  [0x1425, [[0x0030, 0x0030]]],
  [0x1814, [[0x0601, 0x0601]]],
  [0x1b7c, [[0x0004, 0x0004]]],
  [0x1102, [[0x000b, 0x000b]]],
  [0x10ec, [[0x8169, 0x8169]]],
  [
    0x15b3,
    [
      [0x1003, 0x1003],
      [0x1007, 0x1007],
      [0x6340, 0x6340],
      [0x634a, 0x634a],
      [0x6354, 0x6354],
      [0x6368, 0x6368],
      [0x6372, 0x6372],
      [0x6732, 0x6732],
      [0x673c, 0x673c],
      [0x6746, 0x6746],
      [0x6750, 0x6750],
      [0x675a, 0x675a],
      [0x6764, 0x6764],
      [0x676e, 0x676e],
    ],
  ],
]);

type Facts = Pick<PciIdentity, "vendor" | "device">;

/** Whether VFIO shows the device as one without INTx although its interrupt pin says otherwise. */
export function isIntxHidden(device: Facts): boolean {
  return isIn(WITHOUT_INTX, device);
}

/** Whether INTx can be masked in the device itself; else it needs its line for itself. */
export function canMaskIntx(device: Facts & { readonly intxMasking?: false }): boolean {
  return device.intxMasking !== false && !isIn(WITHOUT_MASKING, device);
}

function isIn(ids: Ids, { vendor, device }: Facts): boolean {
  return (ids.get(vendor) ?? []).some(([from, to]) => device >= from && device <= to);
}
