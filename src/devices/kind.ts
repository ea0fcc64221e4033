import type { PciBar, PciIdentity, TranslationAbilities } from "./description.ts";
import type { DeviceBus, DeviceModel } from "./device-model.ts";
import type { MediatedModel, MediatedSurroundings } from "./mediated/mediated-model.ts";
import type { DeviceOptions, OptionProblem, OptionSchema } from "./options.ts";
import type { ConfigLayout } from "./pci/compose-config.ts";

/** What a host file's `model` names. */
export type DeviceKind = PciDeviceKind | MediatedKind;

/** A kind of device of one's own: it is called by the name that it is given with. */
export type NewDeviceKind = Omit<PciDeviceKind, "model"> | Omit<MediatedKind, "model">;

interface KindFacts<Values extends DeviceOptions> {
  /** In host files: "edu". */
  readonly model: string;
  /** For messages: "QEMU's edu". */
  readonly title: string;
  /** The keys of `options` in a host file; absent for a kind that has none. */
  readonly options?: OptionSchema<Values>;
  /** What is wrong with values that are fine one by one. */
  checkOptions?(options: Values): readonly OptionProblem[];
}

/**
 * All facts of one kind of PCI device, and what makes one. A kind is a file or a folder under kinds/ and a line in
 * kinds.ts; nobody else names it. What it says here is what a description leaves open.
 */
export interface PciDeviceKind<Values extends DeviceOptions = DeviceOptions> extends KindFacts<Values> {
  /** A PCI device. */
  readonly bus: "pci";
  /** The devices that it is the default for. What the first one has is also what one of other ids has. */
  readonly devices: readonly KnownDevice[];
  /** It shows what the device shows after a reset, and does nothing more. Absent for kinds that work. */
  readonly atRest?: true;
  /**
   * Whether programs may map its BARs, which transports poll: a device that can be used without is better not mapped.
   */
  readonly mmap: boolean;
  /**
   * Whether it has registers for PASIDs, translations of its own and page requests, so that a host file may ask for
   * them.
   */
  readonly translates: boolean;
  /** It is the default for its ids on s390 too, where other functions show themselves and do nothing. */
  readonly worksBehindZpci?: true;
  /** Options of a device of a recording, which was one of QEMU's. */
  recordedOptions?(device: QemuDevice): Readonly<Record<string, unknown>>;
  /** Options of a device that touches no file: calls are made again that were made once. */
  withoutFiles?(options: Values): Values;
  /** Its BARs, where they depend on its options. */
  bars?(device: DeviceInstance<Values>): readonly PciBar[];
  /**
   * How one shows itself, where that is known only when its host boots: right before it is made. Undefined when it does
   * not show.
   */
  discover?(device: DeviceInstance<Values>, ids: Pick<PciIdentity, "vendor" | "device">): DiscoveredDevice | undefined;
  /** Its config space, where none was recorded. */
  config(device: PciInstance<Values>): ConfigLayout;
  /**
   * Whether one with such options may be made when somebody first looks at it, and not when its host boots: nothing can
   * be wrong with it, and nobody misses it before. A host has thousands of devices of which few are used.
   */
  canWait?(options: Values): boolean;
  /** Makes one. */
  create(bus: DeviceBus, device: PciInstance<Values>): DeviceModel;
}

/** What follows from a device's ids when a description leaves it out. */
export interface KnownDevice {
  /** 16 bits. */
  readonly vendor: number;
  /** 16 bits. */
  readonly device: number;
  /** 24 bits. */
  readonly class: number;
  /** 16 bits. */
  readonly subsystemVendor: number;
  /** 16 bits. */
  readonly subsystemDevice: number;
  /** Its base address registers, by index. */
  readonly bars: readonly PciBar[];
}

/** A device on QEMU's command line. Properties are texts by name; "driver" is what kind it is. */
export interface QemuDevice {
  readonly properties: ReadonlyMap<string, string>;
  /** Devices that are on it as on a bus. */
  readonly onIt: readonly ReadonlyMap<string, string>[];
  /** Properties of an -object. */
  object(id: string): ReadonlyMap<string, string> | undefined;
  /** Properties of a -netdev; "driver" is what kind it is. */
  netdev(id: string): ReadonlyMap<string, string> | undefined;
}

/** One device of a kind, as a host has it. */
export interface DeviceInstance<Values extends DeviceOptions = DeviceOptions> {
  /** Its PCI address or its UUID. */
  readonly name: string;
  /** Its options, read and complete. */
  readonly options: Values;
}

/** Which virtual function it is. */
export interface VirtualPlace {
  /** Name of its physical function. */
  readonly physical: string;
  /** Its number among that one's, from 0. */
  readonly index: number;
}

/** One PCI device of a kind. */
export interface PciInstance<Values extends DeviceOptions = DeviceOptions> extends DeviceInstance<Values> {
  /** What it does of translation; absent for a device that has nothing of it. */
  readonly translation?: TranslationAbilities | undefined;
  /** What it says that it is, for kinds of several devices. */
  readonly ids?: Pick<PciIdentity, "vendor" | "device"> & Partial<Pick<PciIdentity, "subsystemVendor">>;
  /** Of a virtual function. */
  readonly virtual?: VirtualPlace | undefined;
  /** The image behind its expansion ROM, where it has one and its kind has none of its own. */
  readonly rom?: Uint8Array | undefined;
}

/** A device that shows itself: what a description would say of it. */
export type DiscoveredDevice = PciIdentity & {
  /** Its config space, 256 or 4096 bytes. */
  readonly config: Uint8Array;
  readonly bars: readonly PciBar[];
};

/** The same for mediated devices, which show themselves as a PCI function. */
export interface MediatedKind<Values extends DeviceOptions = DeviceOptions> extends KindFacts<Values> {
  /** A mediated device. */
  readonly bus: "mdev";
  /** The types (mdev_supported_types) that it is the default for. */
  readonly types?: RegExp;
  /** How it shows itself; its BARs are not placed. */
  identity(parent: ShownFunction): ShownFunction;
  /** Its config space. */
  readonly config: ConfigLayout;
  /** Makes one. */
  create(around: MediatedSurroundings, device: DeviceInstance<Values>): MediatedModel;
}

/** How a mediated device shows itself. */
export interface ShownFunction extends PciIdentity {
  /** Its base address registers, without places. */
  readonly bars: readonly PciBar[];
}
