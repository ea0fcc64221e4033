import type { NewDeviceKind } from "../devices/kind.ts";
import { type DeviceKinds, kindsWith } from "../devices/kinds.ts";
import { integer } from "../kernel/written-values.ts";
import type { DeviceDefinition, GroupDefinition, HostDefinition, WholeGroupDefinition } from "./host-definition.ts";
import type { HostDescription } from "./host-description.ts";
import { parseHostValues } from "./parse-host.ts";

/** What a program may add to what a host in code can say. */
export interface DefineOptions {
  /**
   * Further kinds of devices, by the names that `model` of a device calls them. The host takes the same
   * (HostOptions.models).
   */
  readonly models?: Readonly<Record<string, NewDeviceKind>>;
}

/** What is not said of an IOMMU. */
const DEFAULT_MODEL = "intel-vtd";
/** Of the first device that says no address; the bus below a root port, as a card in a slot has it. */
const FIRST_BUS = 1;
const LAST_BUS = 0xff;
const FIRST_GROUP = 1;

/**
 * Describes a host in code, in as few words as one likes: `defineHost({ groups: ["edu"] })` is a whole one. All keys of
 * a host file can be said.
 * @throws HostDescriptionError with all that is wrong, a line each
 */
export function defineHost(definition: HostDefinition = {}, { models }: DefineOptions = {}): HostDescription {
  const kinds = kindsWith(models);
  const { name, iommu = DEFAULT_MODEL, groups = [], devices = [] } = definition;
  const shorthand = new Shorthand([...groups, devices ?? []], kinds);
  const values = {
    ...definition,
    name: name ?? "host in code",
    iommu: typeof iommu === "string" ? { model: iommu } : iommu,
    groups: groups.map((group) => shorthand.group(group)),
    ...(devices && { devices: devices.map((device) => shorthand.device(device)) }),
  };
  return parseHostValues(values, kinds);
}

/** Fills in the numbers and addresses that are not said, around those that are. */
class Shorthand {
  readonly #kinds: DeviceKinds;
  readonly #ids = new Set<number>();
  readonly #buses = new Set<number>();

  /** @param groups all that there are: what they say is taken */
  constructor(groups: readonly GroupDefinition[], kinds: DeviceKinds) {
    this.#kinds = kinds;
    for (const group of groups) {
      if (isWhole(group) && group.id !== undefined) this.#ids.add(Number(integer(group.id) ?? Number.NaN));
      for (const device of devicesOf(group)) this.#takeBus(device);
    }
  }

  group(group: GroupDefinition): object {
    const devices = devicesOf(group).map((device) => this.device(device));
    const { id = next(this.#ids, FIRST_GROUP), ...rest } = isWhole(group) ? group : {};
    return { ...rest, id, devices };
  }

  /** A card of its own for each device: functions of one device are seldom meant. */
  device(device: DeviceDefinition): object {
    if (typeof device === "object" && "uuid" in device) return device;
    const said = typeof device === "string" ? spoken(device) : device;
    const { bdf = this.#nextAddress(), id = this.#idsOf(said.model), ...rest } = said;
    return { ...rest, bdf, id };
  }

  /** The ids of a kind of device; undefined, which is told of as missing, where it has none. */
  #idsOf(model: string | null | undefined): string | undefined {
    const kind = this.#kinds.pci.find((each) => each.model === model);
    const known = kind?.devices[0];
    return known && `${hex4(known.vendor)}:${hex4(known.device)}`;
  }

  #takeBus(device: DeviceDefinition): void {
    const bus = typeof device === "object" && "bdf" in device ? /^0000:([0-9a-f]{2}):/i.exec(String(device.bdf)) : null;
    if (bus) this.#buses.add(Number.parseInt(bus[1]!, 16));
  }

  #nextAddress(): string {
    const bus = next(this.#buses, FIRST_BUS);
    // what is too much is said with all else that is wrong
    return bus > LAST_BUS ? `bus ${bus}` : `0000:${bus.toString(16).padStart(2, "0")}:00.0`;
  }
}

/** "8086:10d3" are ids, any other word is a kind. */
function spoken(word: string): { readonly id?: string; readonly model?: string; readonly bdf?: string } {
  return word.includes(":") ? { id: word } : { model: word };
}

function isWhole(group: GroupDefinition): group is WholeGroupDefinition {
  return typeof group === "object" && "devices" in group;
}

function devicesOf(group: GroupDefinition): readonly DeviceDefinition[] {
  if (isWhole(group)) return group.devices;
  return Array.isArray(group) ? group : [group as DeviceDefinition];
}

function next(taken: Set<number>, from: number): number {
  let free = from;
  while (taken.has(free)) free++;
  taken.add(free);
  return free;
}

function hex4(id: number): string {
  return id.toString(16).padStart(4, "0");
}
