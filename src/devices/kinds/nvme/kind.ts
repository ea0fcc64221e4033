import { statSync } from "node:fs";
import type { DeviceBus } from "../../device-model.ts";
import { FileDisk, ImageError } from "../../disk/file-disk.ts";
import { MemoryDisk } from "../../disk/memory-disk.ts";
import type { PciDeviceKind, PciInstance, QemuDevice } from "../../kind.ts";
import {
  bits64,
  byteCount,
  type DeviceOptions,
  filePath,
  flag,
  lineOfText,
  listOf,
  OptionError,
  type OptionProblem,
  wholeNumber,
} from "../../options.ts";
import { msix, placedAt, powerManagement } from "../../pci/capability-kit.ts";
import { MOST_NAMESPACES } from "./facts.ts";
import { Namespace } from "./namespace.ts";
import { CMB_BAR, NvmeDevice, PMR_BAR, REGISTER_BAR } from "./nvme-device.ts";
import { BAR_SIZE, MSIX_PENDING, MSIX_TABLE } from "./registers.ts";

const MEBIBYTE = 2 ** 20;
const DEFAULT_SIZE = 64 * MEBIBYTE;
const MOST_QUEUES = 64;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

interface DiskOptions extends DeviceOptions {
  readonly image: string | undefined;
  readonly size: number | undefined;
  readonly lba: number;
  readonly readonly: boolean;
  readonly shared: boolean;
}

interface NamespaceOptions extends DiskOptions {
  readonly nsid: number | undefined;
  readonly eui64: bigint | undefined;
  readonly uuid: string | undefined;
}

interface NvmeOptions extends DiskOptions {
  readonly namespaces: readonly NamespaceOptions[] | undefined;
  readonly serial: string;
  readonly queues: number;
  readonly vectors: number | undefined;
  readonly queue_entries: number;
  readonly mdts: number;
  readonly event_requests: number;
  readonly cmb: number;
  readonly pmr: number;
}

const DISK = {
  image: filePath({ meaning: "A file that holds the disk; its size is the disk's.", default: undefined }),
  size: byteCount({ meaning: "Bytes of a disk in memory, without an image (64M).", default: undefined }),
  lba: wholeNumber({ meaning: "Bytes of a block: 512 or 4096.", default: 512, least: 512, most: 4096 }),
  readonly: flag({ meaning: "Whether the disk cannot be written.", default: false }),
  shared: flag({
    meaning: "Whether other devices may have the image too: all of them say so. Two ends of a migration do.",
    default: false,
  }),
};

const NAMESPACE = {
  ...DISK,
  nsid: wholeNumber({
    meaning: "Its number; the next one when left out.",
    default: undefined,
    least: 1,
    most: MOST_NAMESPACES,
  }),
  eui64: bits64({ meaning: "Its EUI-64.", default: undefined }),
  uuid: lineOfText({ meaning: "Its UUID.", default: undefined }),
};

/** An NVM Express controller, as QEMU's. */
export const nvme: PciDeviceKind<NvmeOptions> = {
  bus: "pci",
  model: "nvme",
  title: "an NVM Express controller",
  devices: [
    {
      vendor: 0x1b36,
      device: 0x0010,
      class: 0x010802,
      subsystemVendor: 0x1af4,
      subsystemDevice: 0x1100,
      bars: [{ index: REGISTER_BAR, size: BAR_SIZE, type: "memory64" }],
    },
  ],
  mmap: true,
  translates: false,
  worksBehindZpci: true,
  options: {
    ...DISK,
    namespaces: listOf({ meaning: "Several disks in place of one.", default: undefined, schema: NAMESPACE }),
    serial: lineOfText({ meaning: "Serial number, up to 20 characters.", default: "uvfio" }),
    queues: wholeNumber({ meaning: "I/O queues of each kind.", default: MOST_QUEUES, least: 1, most: MOST_QUEUES }),
    vectors: wholeNumber({
      meaning: "MSI-X vectors; one for each queue when left out.",
      default: undefined,
      least: 1,
      most: 256,
    }),
    queue_entries: wholeNumber({ meaning: "Entries of the largest I/O queue.", default: 2048, least: 2, most: 65536 }),
    mdts: wholeNumber({
      meaning: "The most data of a command: pages as a power of two.",
      default: 7,
      least: 1,
      most: 12,
    }),
    event_requests: wholeNumber({
      meaning: "Asynchronous event requests at a time.",
      default: 4,
      least: 1,
      most: 256,
    }),
    cmb: byteCount({ meaning: "Bytes of a controller memory buffer (BAR 2); 0 for none.", default: 0 }),
    pmr: byteCount({ meaning: "Bytes of a persistent memory region (BAR 4); 0 for none.", default: 0 }),
  },
  checkOptions,
  recordedOptions,
  withoutFiles: (options) => ({
    ...inMemory(options),
    ...(options.namespaces && { namespaces: options.namespaces.map(inMemory) }),
  }),
  bars: ({ options: { cmb, pmr } }) => [
    { index: REGISTER_BAR, size: BAR_SIZE, type: "memory64" },
    ...(cmb === 0 ? [] : [{ index: CMB_BAR, size: cmb, type: "memory64", prefetch: true } as const]),
    ...(pmr === 0 ? [] : [{ index: PMR_BAR, size: pmr, type: "memory64", prefetch: true } as const]),
  ],
  config: ({ options }) => ({
    interruptPin: true,
    capabilities: [
      placedAt(
        0x40,
        msix({
          vectors: vectorsOf(options),
          table: { bar: REGISTER_BAR, offset: MSIX_TABLE },
          pending: { bar: REGISTER_BAR, offset: MSIX_PENDING },
        }),
      ),
      placedAt(0x60, powerManagement({ version: 3, resetsInD3: false })),
    ],
  }),
  create,
};

/**
 * Bytes of the recorded controllers' images: of one that has its drive itself, and of each on it (FINDINGS-devices.md).
 */
const RECORDED_IMAGE = 64 * MEBIBYTE;
const RECORDED_NAMESPACE = 16 * MEBIBYTE;

function recordedOptions({ properties, onIt, object }: QemuDevice): Readonly<Record<string, unknown>> {
  const number = (name: string, from = properties) => (from.has(name) ? Number(from.get(name)) : undefined);
  const block = (from = properties) => number("logical_block_size", from);
  const [last, requests] = [number("mqes"), number("aerl")];
  const pmr = object(properties.get("pmrdev") ?? "")?.get("size");
  const namespaces = onIt.map((each) => ({
    size: RECORDED_NAMESPACE,
    lba: block(each),
    nsid: number("nsid", each),
    eui64: each.get("eui64"),
    uuid: each.get("uuid"),
  }));
  return {
    serial: properties.get("serial"),
    queues: number("max_ioqpairs"),
    vectors: number("msix_qsize"),
    mdts: number("mdts"),
    queue_entries: last === undefined ? undefined : last + 1,
    event_requests: requests === undefined ? undefined : requests + 1,
    cmb: (number("cmb_size_mb") ?? 0) * MEBIBYTE,
    pmr: pmr ?? 0,
    ...(namespaces.length > 0 ? { namespaces } : { size: RECORDED_IMAGE, lba: block() }),
  };
}

function vectorsOf({ vectors, queues }: NvmeOptions): number {
  return vectors ?? queues + 1;
}

function create(bus: DeviceBus, { options, ids }: PciInstance<NvmeOptions>): NvmeDevice {
  const facts = {
    vendor: ids?.vendor ?? 0x1b36,
    subsystemVendor: ids?.subsystemVendor ?? 0x1af4,
    serial: options.serial,
    queues: options.queues,
    vectors: vectorsOf(options),
    entries: options.queue_entries,
    transferShift: options.mdts,
    eventRequests: options.event_requests,
    namespaces: namespacesOf(bus, options),
  };
  return new NvmeDevice(bus, facts, options);
}

function namespacesOf(bus: DeviceBus, options: NvmeOptions): Namespace[] {
  const { namespaces } = options;
  if (!namespaces) return [new Namespace({ id: 1, ...diskOf(bus, options, ""), isShared: false })];
  const ids = identifiersOf(namespaces);
  return namespaces.map(
    (each, index) =>
      new Namespace({
        id: ids[index]!,
        ...diskOf(bus, each, `namespaces[${index}].`),
        isShared: true,
        eui64: each.eui64,
        uuid: each.uuid === undefined ? undefined : Buffer.from(each.uuid.replaceAll("-", ""), "hex"),
      }),
  );
}

/** Those that say no number have the next one that nobody has. */
function identifiersOf(namespaces: readonly NamespaceOptions[]): number[] {
  const taken = new Set(namespaces.flatMap(({ nsid }) => nsid ?? []));
  let next = 1;
  return namespaces.map(({ nsid }) => {
    if (nsid !== undefined) return nsid;
    while (taken.has(next)) next++;
    return next++;
  });
}

function diskOf(bus: DeviceBus, options: DiskOptions, place: string) {
  const { image, size = DEFAULT_SIZE, lba: block, readonly: readOnly, shared } = options;
  if (image === undefined) return { disk: new MemoryDisk(size), block };
  try {
    return { disk: new FileDisk(image, { readOnly, shared, block, aside: () => bus.clock.inSlices }), block };
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    throw new OptionError(`${place}image`, `${image}: ${error.message}`, { cause: error });
  }
}

/** A disk of the same size in memory, when the image is there. */
function inMemory<Options extends DiskOptions>({ image, ...options }: Options): Options {
  if (image === undefined) return options as Options;
  const size = statSync(image, { throwIfNoEntry: false })?.size;
  return { ...options, readonly: false, shared: false, size: size || DEFAULT_SIZE } as unknown as Options;
}

function checkOptions(options: NvmeOptions): readonly OptionProblem[] {
  const { namespaces, serial, cmb, pmr } = options;
  const problems = namespaces
    ? namespaces.flatMap((each, index) => checkDisk(each, `namespaces[${index}].`))
    : checkDisk(options, "");
  const own = namespaces && (["image", "size"] as const).find((name) => options[name] !== undefined);
  if (own) problems.push({ option: own, message: "not with namespaces, which have disks of their own" });
  if (namespaces?.length === 0) problems.push({ option: "namespaces", message: "there must be one" });
  const ids = namespaces ? namespaces.flatMap(({ nsid }) => nsid ?? []) : [];
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) problems.push({ option: "namespaces", message: `nsid ${twice} is there twice` });
  if (serial.length > 20) problems.push({ option: "serial", message: "has more than 20 characters" });
  for (const [index, { uuid }] of (namespaces ?? []).entries())
    if (uuid !== undefined && !UUID.test(uuid))
      problems.push({ option: `namespaces[${index}].uuid`, message: `not a UUID: "${uuid}"` });
  for (const [option, size] of Object.entries({ cmb, pmr })) {
    const isPower = size === 0 || (size >= MEBIBYTE && size <= 2 ** 31 && Number.isInteger(Math.log2(size)));
    if (!isPower) problems.push({ option, message: "must be a power of two from 1M to 2G, or 0" });
  }
  return problems;
}

function checkDisk({ image, size, lba, readonly, shared }: DiskOptions, place: string): OptionProblem[] {
  if (lba !== 512 && lba !== 4096) return [{ option: `${place}lba`, message: `${lba} is not 512 or 4096` }];
  if (image !== undefined && size !== undefined)
    return [{ option: `${place}size`, message: "the image's size is the disk's: give one of both" }];
  if (image === undefined && readonly)
    return [
      { option: `${place}readonly`, message: "a disk in memory that cannot be written holds nothing: give an image" },
    ];
  if (image === undefined && shared)
    return [{ option: `${place}shared`, message: "a disk in memory is nobody else's: give an image" }];
  const bytes = size ?? DEFAULT_SIZE;
  if (bytes < lba || bytes % lba !== 0)
    return [{ option: `${place}size`, message: `${bytes} is no multiple of a block of ${lba} bytes` }];
  return [];
}
