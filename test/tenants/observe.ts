import { viewOf } from "../../src/uapi/layout.ts";
import { VFIO_IOMMU_GET_INFO } from "../../src/uapi/vfio-type1.ts";
import type { Dialect } from "./dialect.ts";
import type { Machine } from "./machine.ts";
import type { Box } from "./reference.ts";

const INFO_BYTES = 256;
const PROBE_BYTES = 16;

/** What a container tells about itself: GET_INFO, and PROBE where there is one. Undefined before its IOMMU is set. */
export function observe(
  { machine, dialect }: { readonly machine: Machine; readonly dialect: Dialect },
  box: Box,
): readonly Uint8Array[] | undefined {
  if (box.fd < 0 || box.type === 0) return undefined;
  const process = machine.process(box.process);
  const info = new Uint8Array(INFO_BYTES);
  viewOf(info).setUint32(0, INFO_BYTES, true);
  const views = [info, outcome(process.exchange(box.fd, VFIO_IOMMU_GET_INFO, info))];
  if (dialect.probe) {
    const answer = new Uint8Array(PROBE_BYTES);
    views.push(outcome(dialect.probe(process, box.fd, answer)), answer);
  }
  return views;
}

function outcome(result: number): Uint8Array {
  return new Uint8Array(new Int32Array([result]).buffer);
}

export function sameView(one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean {
  return one.length === other.length && one.every((bytes, index) => sameBytes(bytes, other[index]!));
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false;
  return true;
}
