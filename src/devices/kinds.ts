import { contained } from "./contained-model.ts";
import { kindOfFile } from "./file-kinds.ts";
import type { DeviceKind, KnownDevice, MediatedKind, NewDeviceKind, PciDeviceKind } from "./kind.ts";
import { e1000e } from "./kinds/e1000e/kind.ts";
import { edu } from "./kinds/edu/kind.ts";
import { generic } from "./kinds/generic.ts";
import { igb } from "./kinds/igb/kind.ts";
import { igbvf } from "./kinds/igbvf.ts";
import { ioat } from "./kinds/ioat/kind.ts";
import { nvme } from "./kinds/nvme/kind.ts";
import { pciTestdev } from "./kinds/pci-testdev.ts";
import { vfioUser } from "./kinds/vfio-user/kind.ts";
import { zpciAtRest } from "./kinds/zpci.ts";
import { genericMediated } from "./mediated/generic.ts";
import { sample } from "./mediated/sample/kind.ts";

/** All kinds of PCI devices. A new one is a file under kinds/, called as its model, and a line here. */
const PCI_KINDS: readonly PciDeviceKind[] = [
  generic,
  edu,
  ioat,
  pciTestdev,
  e1000e,
  igb,
  igbvf,
  nvme,
  vfioUser,
  zpciAtRest,
];

/** All kinds of mediated devices. A new one is a file under mediated/ and a line here. */
const MEDIATED_KINDS: readonly MediatedKind[] = [sample, genericMediated];

/** Kinds of devices by the names that host files call them: those that are ready, and what somebody adds. */
export class DeviceKinds {
  readonly #pci: ReadonlyMap<string, PciDeviceKind>;
  readonly #mediated: ReadonlyMap<string, MediatedKind>;
  readonly pci: readonly PciDeviceKind[];
  readonly pciModels: readonly string[];
  readonly mediatedModels: readonly string[];
  /** What was asked for, by vendor and device: machines have many devices of few kinds. */
  readonly #ofIds = new Map<number, PciDeviceKind>();

  /**
   * @param further kinds of one's own by their names in host files. They come before others that are the default for
   * the same ids. Throws RangeError for a name that there is already.
   */
  constructor(further: Readonly<Record<string, NewDeviceKind>> = {}) {
    const own = Object.entries(further).map(([model, kind]) => {
      const named = { ...kind, model };
      return named.bus === "pci" ? contained(named) : named;
    });
    this.#pci = byModel([...PCI_KINDS, ...own.filter((kind) => kind.bus === "pci")]);
    this.#mediated = byModel([...MEDIATED_KINDS, ...own.filter((kind) => kind.bus === "mdev")]);
    this.pci = [...this.#pci.values()];
    this.pciModels = [...this.#pci.keys()];
    this.mediatedModels = [...this.#mediated.keys()];
  }

  /** Whether a description may call a PCI device so. */
  hasPciModel(model: string): boolean {
    return this.#pci.has(model) || kindOfFile(model) !== undefined;
  }

  /**
   * The kind of that name. Descriptions are checked before (machine/check-models.ts), so a name that there is not is a
   * RangeError.
   */
  pciKind(model: string): PciDeviceKind {
    return this.#pci.get(model) ?? kindOfFile(model) ?? unknown(model, this.pciModels);
  }

  mediatedKind(model: string): MediatedKind {
    return this.#mediated.get(model) ?? unknown(model, this.mediatedModels);
  }

  /** What a PCI device is that says no model. */
  kindOfIds(vendor: number, device: number): PciDeviceKind {
    const ids = (vendor << 16) | device;
    const known = this.#ofIds.get(ids);
    if (known) return known;
    const kind = this.#findKind(hasIds(vendor, device));
    this.#ofIds.set(ids, kind);
    return kind;
  }

  #findKind(isIt: (known: KnownDevice) => boolean): PciDeviceKind {
    return this.pci.findLast(({ devices }) => devices.some(isIt)) ?? generic;
  }

  /** What is known of a device of a kind and ids; undefined when nothing is. */
  knownDevice(kind: PciDeviceKind, vendor: number, device: number): KnownDevice | undefined {
    const first = kind.devices[0];
    if (first === undefined) return this.pci.flatMap(({ devices }) => devices).find(hasIds(vendor, device));
    if (first.vendor === vendor && first.device === device) return first;
    return kind.devices.find(hasIds(vendor, device)) ?? first;
  }

  /** What a mediated device of a type is that says no model. */
  kindOfType(type: string): MediatedKind {
    return [...this.#mediated.values()].findLast((kind) => kind.types?.test(type)) ?? sample;
  }
}

/** The kinds that are ready. */
export const DEVICE_KINDS = new DeviceKinds();

/** Those, and what a program adds. */
export function kindsWith(further: Readonly<Record<string, NewDeviceKind>> | undefined): DeviceKinds {
  return further ? new DeviceKinds(further) : DEVICE_KINDS;
}

function byModel<Kind extends DeviceKind>(kinds: readonly Kind[]): ReadonlyMap<string, Kind> {
  const map = new Map<string, Kind>();
  for (const kind of kinds) {
    if (map.has(kind.model))
      throw new RangeError(`models.${kind.model}: there is a kind of device of that name already`);
    map.set(kind.model, kind);
  }
  return map;
}

function unknown(model: string, models: readonly string[]): never {
  throw new RangeError(`no kind of device is called "${model}" (there are: ${models.join(", ")})`);
}

function hasIds(vendor: number, device: number): (known: KnownDevice) => boolean {
  return (known) => known.vendor === vendor && known.device === device;
}
