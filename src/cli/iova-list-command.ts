import { addDevices } from "../client/add-devices.ts";
import type { IommuInfo } from "../client/iommu-info.ts";
import { iovaList } from "../client/iova-list.ts";
import { ModelTransport } from "../client/model-transport.ts";
import { Host } from "../host/host.ts";
import { deviceName, findDevice } from "../machine/find-device.ts";
import { type HostOverrides, loadHost } from "../machine/load-host.ts";
import { complain, printLine } from "./output.ts";

/**
 * `uvfio iova-list`: the listing of the vfio-type1-iova-list test, or its facts as JSON, against the model in this
 * process.
 */
export async function iovaListCommand(
  devices: readonly string[],
  { machine, json = false, ...overrides }: HostOverrides & { readonly machine?: string; readonly json?: boolean },
): Promise<number> {
  const description = await loadHost(machine, overrides);
  const names = devices.map((device) => deviceName(findDevice(description, device).device));
  const host = new Host(description, { onWarning: (message) => complain(message) });
  try {
    const transport = new ModelTransport(host);
    if (json) printLine(JSON.stringify(facts(transport, names), null, 2));
    else iovaList(transport, names, (line) => printLine(line));
    return 0;
  } finally {
    host.close();
  }
}

/**
 * What GET_INFO says after each device; nothing after one whose group was there already. Addresses are strings: JSON's
 * numbers are too short.
 */
function facts(transport: ModelTransport, devices: readonly string[]): unknown[] {
  const all: unknown[] = [];
  addDevices(transport, devices, (device, container) => {
    all.push({ device, ...(container && inJson(container.getInfo())) });
  });
  return all;
}

function inJson({ pageSizes, ranges, dmaAvail }: IommuInfo): object {
  const hex = (value: bigint) => `0x${value.toString(16)}`;
  return {
    ...(pageSizes !== undefined && { page_sizes: hex(pageSizes) }),
    ...(ranges && { iova_ranges: ranges.map(({ start, last }) => ({ start: hex(start), last: hex(last) })) }),
    ...(dmaAvail !== undefined && { dma_avail: dmaAvail }),
  };
}
