import type { ZpciDescription } from "../../devices/description.ts";
import type { Release } from "../../kernel/releases.ts";
import type { CapabilityStructure } from "../../uapi/capability-chain.ts";
import {
  VFIO_DEVICE_INFO_CAP_ZPCI_BASE,
  VFIO_DEVICE_INFO_CAP_ZPCI_GROUP,
  VFIO_DEVICE_INFO_CAP_ZPCI_PFIP,
  VFIO_DEVICE_INFO_CAP_ZPCI_UTIL,
} from "../../uapi/vfio-device.ts";
import * as zdev from "../../uapi/vfio-zdev.ts";

const PFIP_BYTES = 4;
/** Bytes of the structures of version 1, which end before the handle and the second block length. */
const BASE_1 = zdev.VfioDeviceInfoCapZpciBase.offsets.fh;
const GROUP_1 = zdev.VfioDeviceInfoCapZpciGroup.offsets.imaxstbl;

/**
 * What VFIO_DEVICE_GET_INFO tells of a function of s390, in this order (vfio_pci_zdev.c:vfio_pci_info_zdev_add_caps).
 */
export function zpciCapabilities(
  zpci: ZpciDescription,
  release: Release,
  littleEndian: boolean,
): CapabilityStructure[] {
  const { group, utilString } = zpci;
  const hasHandle = release.has("zpciFunctionHandle");
  const base = zdev.VfioDeviceInfoCapZpciBase.encode(
    {
      start_dma: zpci.startDma,
      end_dma: zpci.endDma,
      pchid: zpci.pchid,
      vfn: zpci.vfn,
      fmb_length: zpci.fmbLength,
      pft: zpci.pft,
      gid: group.id,
      fh: zpci.functionHandle,
    },
    0,
    littleEndian,
  );
  const ofGroup = zdev.VfioDeviceInfoCapZpciGroup.encode(
    {
      dasm: group.dasm,
      msi_addr: group.msiAddress,
      flags: BigInt(zdev.VFIO_DEVICE_INFO_ZPCI_FLAG_REFRESH),
      mui: group.mui,
      noi: group.noi,
      maxstbl: group.maxstbl,
      version: group.version,
      imaxstbl: group.imaxstbl,
    },
    0,
    littleEndian,
  );
  const pfip = new Uint8Array(PFIP_BYTES);
  // segment 0 comes first in memory whatever the byte order
  new DataView(pfip.buffer).setUint32(0, zpci.pfip);
  const util = zdev.VfioDeviceInfoCapZpciUtil;
  return [
    hasHandle
      ? { id: VFIO_DEVICE_INFO_CAP_ZPCI_BASE, version: 2, structure: base }
      : { id: VFIO_DEVICE_INFO_CAP_ZPCI_BASE, version: 1, structure: base.subarray(0, BASE_1) },
    hasHandle
      ? { id: VFIO_DEVICE_INFO_CAP_ZPCI_GROUP, version: 2, structure: ofGroup }
      : { id: VFIO_DEVICE_INFO_CAP_ZPCI_GROUP, version: 1, structure: ofGroup.subarray(0, GROUP_1) },
    ...(utilString ? [withBytes(VFIO_DEVICE_INFO_CAP_ZPCI_UTIL, util, utilString, littleEndian)] : []),
    withBytes(VFIO_DEVICE_INFO_CAP_ZPCI_PFIP, zdev.VfioDeviceInfoCapZpciPfip, pfip, littleEndian),
  ];
}

function withBytes(
  id: number,
  layout: typeof zdev.VfioDeviceInfoCapZpciUtil | typeof zdev.VfioDeviceInfoCapZpciPfip,
  bytes: Uint8Array,
  littleEndian: boolean,
): CapabilityStructure {
  const structure = layout.encode({ size: bytes.length }, bytes.length, littleEndian);
  structure.set(bytes, layout.size);
  return { id, version: 1, structure };
}
