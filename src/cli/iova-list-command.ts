import { addDevices } from "../client/add-devices.ts";
import type { IommuInfo } from "../client/iommu-info.ts";
import { iovaList } from "../client/iova-list.ts";
import { ModelTransport } from "../client/model-transport.ts";
import { Host } from "../host/host.ts";
import type { MapPiece, MapRow } from "../inspect/picture/address-map.ts";
import { spacePieces } from "../inspect/picture/space-pieces.ts";
import { svgMap } from "../inspect/picture/svg-map.ts";
import { textMap } from "../inspect/picture/text-map.ts";
import { deviceName, findDevice } from "../machine/find-device.ts";
import { type HostOverrides, loadHost } from "../machine/load-host.ts";
import { complain, printLine } from "./output.ts";
import { writeWhole } from "./write-whole.ts";

/** What is wanted of the listing. */
export interface IovaListOptions {
  readonly json?: boolean;
  readonly map?: boolean;
  readonly svg?: string;
}

/**
 * `uvfio iova-list`: the listing of the vfio-type1-iova-list test, or its facts as JSON, against the model in this
 * process.
 */
export async function iovaListCommand(
  devices: readonly string[],
  {
    machine,
    json = false,
    map = false,
    svg,
    ...overrides
  }: HostOverrides & IovaListOptions & { readonly machine?: string },
): Promise<number> {
  const description = await loadHost(machine, overrides);
  const names = devices.map((device) => deviceName(findDevice(description, device).device));
  const host = new Host(description, { onWarning: (message) => complain(message) });
  try {
    const transport = new ModelTransport(host);
    if (json) printLine(JSON.stringify(facts(transport, names), null, 2));
    else iovaList(transport, names, (line) => printLine(line));
    if (!map && svg === undefined) return 0;
    const row = spaceRow(host, transport, names);
    if (map && !json) for (const line of ["", ...textMap([row])]) printLine(line);
    if (svg !== undefined) writeWhole(svg, "--svg", svgMap([row], `What can be mapped: ${row.title}, ${row.note}`));
    return 0;
  } finally {
    host.close();
  }
}

/** The address space of a container with all of the devices. */
function spaceRow(host: Host, transport: ModelTransport, devices: readonly string[]): MapRow {
  let pieces: readonly MapPiece[] = [];
  addDevices(transport, devices, () => {
    const [space] = host.spaces();
    if (space) pieces = spacePieces(space.view);
  });
  return { title: `host ${host.description.name}`, note: devices.join(", "), pieces };
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
