import type { QemuDevice } from "../devices/kind.ts";

/** A word of a command line, perhaps with quotes in it. */
const WORD = /(?:[^\s']|'[^']*')+/g;

/**
 * Devices on the command line of a QEMU that a recording was made in, by their `id`: what is said of them tells options
 * of the recorded devices.
 * @param text the whole command line
 */
export function qemuDevices(text: string): ReadonlyMap<string, QemuDevice> {
  const devices = argumentsOf(text, "-device");
  const objects = argumentsOf(text, "-object");
  const netdevs = argumentsOf(text, "-netdev");
  const found = new Map<string, QemuDevice>();
  for (const properties of devices) {
    const id = properties.get("id");
    if (id === undefined) continue;
    found.set(id, {
      properties,
      onIt: devices.filter((other) => other.get("bus") === id),
      object: (name) => objects.find((other) => other.get("id") === name),
      netdev: (name) => netdevs.find((other) => other.get("id") === name),
    });
  }
  return found;
}

/** A PCI bus from which on devices are behind another IOMMU. */
export interface IommuBus {
  readonly firstBus: number;
  readonly instance: number;
}

/** IOMMUs on a command line that has several, each for a root bus of its own, in the order of their buses. */
export function iommuBuses(text: string): readonly IommuBus[] {
  const devices = argumentsOf(text, "-device");
  const own = devices.flatMap((device) => device.get("primary-bus") ?? []);
  if (own.length < 2) return [];
  const first = (bus: string) => Number(devices.find((device) => device.get("id") === bus)?.get("bus_nr") ?? 0);
  return own.map((bus, instance) => ({ firstBus: first(bus), instance })).sort((a, b) => a.firstBus - b.firstBus);
}

function argumentsOf(text: string, option: string): ReadonlyMap<string, string>[] {
  const words = text.match(WORD) ?? [];
  return words.flatMap((word, index) => (words[index - 1] === option ? [propertiesOf(word)] : []));
}

/** "nvme,id=dN,serial=oracle": the word before the first comma is its "driver". */
function propertiesOf(word: string): ReadonlyMap<string, string> {
  const [driver = "", ...rest] = word.split(",");
  const pairs = rest.map((part): [string, string] => {
    const at = part.indexOf("=");
    return at < 0 ? [part, "on"] : [part.slice(0, at), part.slice(at + 1)];
  });
  return new Map([["driver", driver], ...pairs]);
}
