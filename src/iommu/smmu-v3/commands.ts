import { addressToPage } from "../../address/pages.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { RequesterIdentity } from "../requester.ts";
import type { VirtualIommuGround } from "../virtual-iommu.ts";
import type { PageRange } from "./tlb.ts";

/** What a guest wants forgotten, after the kernel has looked at it. */
export type Command =
  | { readonly kind: "all" }
  | { readonly kind: "asid"; readonly asid: number }
  | { readonly kind: "range"; readonly asid: number | undefined; readonly range: PageRange }
  | { readonly kind: "contexts"; readonly device: RequesterIdentity; readonly substream: number | undefined }
  /** Of what devices remember themselves: nothing here. */
  | { readonly kind: "device" };

/** Commands of an SMMU's queue that a guest may give (Arm IHI 0070, "Commands"). */
const OP = {
  CFGI_CD: 0x05,
  CFGI_CD_ALL: 0x06,
  TLBI_NH_ALL: 0x10,
  TLBI_NH_ASID: 0x11,
  TLBI_NH_VA: 0x12,
  TLBI_NH_VAA: 0x13,
  TLBI_NSNH_ALL: 0x30,
  ATC_INV: 0x40,
} as const;

// Word 0
const SUBSTREAM_VALID = 1n << 11n;
const SUBSTREAM_AT = 12n;
const SUBSTREAM = 0xf_ffffn;
const NUM_AT = 12n;
const SCALE_AT = 20n;
const LOW_5 = 0x1fn;
const STREAM_AT = 32n;
const ASID_AT = 48n;
// Word 1
const TG_AT = 10n;
const ADDRESS = ~0xfffn;
/** log2 of the granule that TG means; 0 is one page, of whatever size. */
const GRANULES = [undefined, 12n, 14n, 16n] as const;

/**
 * What the kernel makes of a guest's command: VMID and stream id are its own, and other bits pass unchecked
 * (arm-smmu-v3-iommufd.c:arm_vsmmu_convert_user_cmd).
 * @param ground whose numbers stream ids are
 * @param hasRanges the SMMU invalidates by range
 * @throws KernelError EIO for another command, or a stream id that no device has
 */
export function convertCommand(
  [first, second]: readonly [bigint, bigint],
  ground: VirtualIommuGround,
  hasRanges: boolean,
): Command {
  const code = Number(first & 0xffn);
  const asid = Number(first >> ASID_AT);
  switch (code) {
    case OP.TLBI_NSNH_ALL:
    case OP.TLBI_NH_ALL:
      return { kind: "all" };
    case OP.TLBI_NH_ASID:
      return { kind: "asid", asid };
    case OP.TLBI_NH_VA:
      return { kind: "range", asid, range: rangeOf(first, second, hasRanges) };
    case OP.TLBI_NH_VAA:
      return { kind: "range", asid: undefined, range: rangeOf(first, second, hasRanges) };
    case OP.CFGI_CD: {
      const substream = first & SUBSTREAM_VALID ? Number((first >> SUBSTREAM_AT) & SUBSTREAM) : 0;
      return { kind: "contexts", device: deviceOf(first, ground), substream };
    }
    case OP.CFGI_CD_ALL:
      return { kind: "contexts", device: deviceOf(first, ground), substream: undefined };
    case OP.ATC_INV:
      deviceOf(first, ground);
      return { kind: "device" };
    default:
      fail(
        "EIO",
        `command ${hex(code)} is none that a guest may give (TLBI by address, ASID or all; CFGI_CD; ATC_INV)`,
      );
  }
}

function deviceOf(first: bigint, ground: VirtualIommuGround): RequesterIdentity {
  const stream = first >> STREAM_AT;
  return (
    ground.deviceAt(stream) ??
    fail("EIO", `no device has the number ${hex(stream)} in this virtual SMMU (VDEVICE_ALLOC)`)
  );
}

function rangeOf(first: bigint, second: bigint, hasRanges: boolean): PageRange {
  const start = second & ADDRESS;
  const granule = hasRanges ? GRANULES[Number((second >> TG_AT) & 3n)] : undefined;
  if (granule === undefined) return { start: addressToPage(start), pages: 1 };
  const bytes = (((first >> NUM_AT) & LOW_5) + 1n) << (((first >> SCALE_AT) & LOW_5) + granule);
  return { start: addressToPage((start >> granule) << granule), pages: addressToPage(bytes) };
}
