import { parseCapabilityChain } from "../../src/uapi/capability-chain.ts";
import { VfioIommuType1Info } from "../../src/uapi/vfio-type1.ts";

/** The IOVA ranges in the bytes of a GET_INFO, first and last byte; undefined when there is no such capability. */
export function ranges(info: Uint8Array): [bigint, bigint][] | undefined {
  const chain = parseCapabilityChain(info, VfioIommuType1Info.decode(info).cap_offset, VfioIommuType1Info.size);
  const capability = chain.find(({ id }) => id === 1);
  if (!capability) return undefined;
  const view = new DataView(capability.body.buffer, capability.body.byteOffset);
  const count = view.getUint32(0, true);
  return Array.from({ length: count }, (_, i) => [
    view.getBigUint64(8 + 16 * i, true),
    view.getBigUint64(16 + 16 * i, true),
  ]);
}
