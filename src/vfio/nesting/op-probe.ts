import { PASID_BITS } from "../../iommu/requester.ts";
import type { CapabilityStructure } from "../../uapi/capability-chain.ts";
import * as rfc from "../../uapi/rfc-2017.ts";
import { StructView } from "../../uapi/struct-view.ts";
import { VfioInfoCapHeader } from "../../uapi/vfio.ts";
import { TABLE_FLAGS, TABLE_WIDTHS } from "./guest-table.ts";
import type { NestingContainer } from "./nesting-container.ts";
import { ALL_CACHES, KNOWN_HINTS, MAX_DESCRIPTORS, modelInForce, opsOf, TAKEN_DESCRIPTORS } from "./op-support.ts";

const { VfioIommuOpProbe: Probe, VfioIommuOpModel: Model, VfioIommuOpDevice: Device } = rfc;

/** Pages of 4 KiB, 2 MiB and 1 GiB: first-level.ts walks leaves of all three. */
const PAGE_SIZES = (1n << 12n) | (1n << 21n) | (1n << 30n);

/** What the first answer had, and what every caller has room for. */
export const LEAST_ANSWER = Probe.endOf("pasid_bits");

/**
 * What PROBE and the capability say: a VfioIommuOpProbe with the models and devices behind it. Without a model that can
 * nest it is empty.
 */
export function opAnswer(container: NestingContainer): Uint8Array {
  const model = modelInForce(container);
  const models = model === 0 ? [] : [intelModel(opsOf(container))];
  const devices = model === 0 ? [] : devicesOf(container);
  const parts = [...models, ...devices];
  const size = parts.reduce((sum, part) => sum + part.length, Probe.size);
  const modelBytes = models.reduce((sum, part) => sum + part.length, 0);
  const head = Probe.encode({
    ...(model !== 0 && {
      ops: opsOf(container),
      models: 1 << model,
      descriptors: TAKEN_DESCRIPTORS,
      pasid_bits: PASID_BITS,
    }),
    size,
    model_offset: Probe.size,
    model_count: models.length,
    device_offset: Probe.size + modelBytes,
    device_count: devices.length,
    device_size: Device.size,
  });
  const answer = new Uint8Array(size);
  let at = 0;
  for (const part of [head, ...parts]) {
    answer.set(part, at);
    at += part.length;
  }
  return answer;
}

export function opCapability(container: NestingContainer): CapabilityStructure {
  const answer = opAnswer(container);
  const structure = new Uint8Array(VfioInfoCapHeader.size + answer.length);
  structure.set(answer, VfioInfoCapHeader.size);
  return { id: rfc.VFIO_IOMMU_TYPE1_INFO_CAP_OP, version: 1, structure };
}

function intelModel(ops: number): Uint8Array {
  const vendor = rfc.IntelIommuOpSupport;
  const bytes = Model.encode(
    {
      model: rfc.IOMMU_MODEL_INTEL,
      size: Model.size + vendor.size,
      ops,
      length: vendor.size,
      addr_widths: TABLE_WIDTHS.reduce((bits, width) => bits | (1n << BigInt(width)), 0n),
      page_sizes: PAGE_SIZES,
      page_table_format: rfc.IOMMU_PAGE_TABLE_X86,
      pasid_table_format: ops & (1 << rfc.VFIO_IOMMU_OP_BIND_PASID_TABLE) ? rfc.IOMMU_PASID_TABLE_VTD_SCALABLE : 0,
    },
    vendor.size,
  );
  vendor.write(new StructView(bytes, true), Model.size, {
    page_table_flags: TABLE_FLAGS,
    descriptors: TAKEN_DESCRIPTORS,
    max_descriptors: MAX_DESCRIPTORS,
    hints: KNOWN_HINTS,
    caches: ALL_CACHES,
  });
  return bytes;
}

/** Those that an IOMMU sees, in the order of the groups. */
function devicesOf(container: NestingContainer): Uint8Array[] {
  return container.groups.flatMap((group) =>
    group.iommuGroup.deviceNames.flatMap((name) => {
      const requester = container.reach(group, name);
      if (!requester) return [];
      const { segment, source, isMediated } = requester.identity;
      const flags = isMediated ? rfc.IOMMU_OP_DEVICE_SHARED : 0;
      return [Device.encode({ group: group.iommuGroup.id, segment, source_id: source, flags })];
    }),
  );
}
