import { checkFit } from "../../inspect/fit/fit.ts";
import { FitInputError } from "../../inspect/fit/input-error.ts";
import type { FitRequest, PlannedLayout } from "../../inspect/fit/judge.ts";
import {
  CPU_VENDORS,
  type CpuVendor,
  FIRMWARES,
  type Firmware,
  type GuestLayout,
  type LayoutRequest,
  type Vmm,
} from "../../inspect/fit/layout.ts";
import { chooseVmm, defaultVmm } from "../../inspect/fit/layouts/index.ts";
import { parseRangesFile } from "../../inspect/fit/layouts/ranges-file.ts";
import type { Assumptions } from "../../inspect/fit/limits.ts";
import { mostThatFits } from "../../inspect/fit/most.ts";
import { hex, MIB, parseSize, sizeText } from "../../inspect/fit/sizes.ts";
import { kindOf } from "../../iommu/kinds.ts";
import { printable } from "../../kernel/printable.ts";
import type { FoundDevice } from "../../machine/find-device.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { InputFileError, inputName, readInput } from "../../machine/input-file.ts";
import { UsageError } from "../usage-error.ts";
import { FitAnswer } from "./answer.ts";
import { fitHost } from "./fit-host.ts";

/** Where the search for the most begins: the smallest guest that there is. */
const SMALLEST = MIB;

/** A size: bytes, or text like 64G, 1010G, 1T, 0x40000000. */
export type Size = bigint | string;

/** A guest. One of `memory`, `max` and `ranges` must be there. */
export interface GuestOptions {
  /** Memory that it has. */
  readonly memory?: Size;
  /** Instead: look for the most that fits. */
  readonly max?: boolean;
  /** Instead: the file of its ranges, a range a line, or what QEMU prints for `info mtree -f`. */
  readonly ranges?: string;
  /** Memory up to which it can be plugged (QEMU's maxmem). */
  readonly maxMemory?: Size;
  /** Memory slots (QEMU's slots); 1 with `maxMemory` when left out. */
  readonly slots?: number | string;
  /** q35, i440fx, virt, pseries, cloud-hypervisor, crosvm, or pc-q35-7.0; by the host when left out. */
  readonly vmm?: string;
  /** Version of QEMU's machine type; the newest rules when left out. */
  readonly vmmVersion?: string;
  /**
   * PCI addresses or UUIDs of the devices that it gets, or ids (8086:10fb) for the first such device; all that are
   * bound to vfio-pci when left out.
   */
  readonly devices?: readonly string[];
  /** Of its CPU, amd or intel; as the host's IOMMU when left out. */
  readonly cpuVendor?: string;
  /** Address bits of its CPU; as many as it takes when left out. */
  readonly physBits?: number | string;
  /** Who places BARs: seabios, ovmf, or direct for none; each is looked at when left out. */
  readonly firmware?: string;
  /** Devices are behind a vIOMMU: each group maps all of the memory in its own container. */
  readonly viommu?: boolean;
  /** Largest piece that one mapping covers; a whole range when left out. */
  readonly chunk?: Size;
  /** RLIMIT_MEMLOCK of the VMM; not checked when left out or "unlimited". */
  readonly memlock?: Size;
}

/**
 * Whether a guest fits a host.
 * @throws UsageError, FitInputError: messages name options as `uvfio fit` has them
 */
export function answerFit(options: GuestOptions, description: HostDescription): FitAnswer {
  checkCombination(options);
  const host = fitHost(description, options.devices ?? []);
  const planned = options.ranges === undefined ? plan(options, description, host.devices) : undefined;
  const base = { host, assumptions: assume(options), ...(planned && { planned }) };
  if (options.max) return most(base, planned!);
  const layout = planned ? planned.layout(planned.request) : readRanges(options.ranges!);
  checkLayout(layout, options, planned?.request);
  const request: FitRequest = { ...base, layout };
  return new FitAnswer(request, checkFit(request));
}

/**
 * What is wrong with a question whatever the host, before hosts are read.
 * @throws UsageError, FitInputError
 */
export function checkQuestion(options: GuestOptions): void {
  checkCombination(options);
  assume(options);
  if (options.memory !== undefined) sizeOf(options.memory, "--memory");
  if (options.maxMemory !== undefined) sizeOf(options.maxMemory, "--max-memory");
  if (options.vmm !== undefined) chooseVmm(options.vmm, options.vmmVersion);
}

/** The largest guest that fits; when none does, the smallest, which says why. */
function most(base: Omit<FitRequest, "layout">, planned: PlannedLayout): FitAnswer {
  const found = mostThatFits(base, planned);
  if (!found) {
    const request: FitRequest = { ...base, planned, layout: planned.layout(planned.request) };
    return new FitAnswer(request, checkFit(request), "No guest fits, however small:");
  }
  const memory = found.planned!.request.memory;
  return new FitAnswer(found, checkFit(found), `At most ${sizeText(memory)} fits.`);
}

function checkCombination({ memory, max, ranges, vmm, vmmVersion, maxMemory, firmware }: GuestOptions): void {
  if (memory === undefined && ranges === undefined && !max)
    throw new UsageError(
      "fit: say how much memory the guest has (--memory 64G), ask for the most (--max), or give its ranges (--ranges FILE)",
    );
  if (max && (memory ?? maxMemory ?? ranges) !== undefined)
    throw new UsageError("fit: --max looks for the memory; leave out --memory, --max-memory and --ranges");
  if (ranges !== undefined && firmware !== undefined)
    throw new UsageError("fit: --ranges FILE is the whole layout, BARs included; leave out --firmware");
  if (ranges !== undefined && (memory ?? vmm ?? vmmVersion ?? maxMemory) !== undefined)
    throw new UsageError("fit: --ranges FILE is the whole layout; leave out --memory, --max-memory and --vmm");
}

/** The layout that a VMM makes of the options. */
function plan(
  options: GuestOptions,
  { arch, iommu, pageSize }: HostDescription,
  devices: readonly FoundDevice[],
): PlannedLayout {
  const fallback = options.vmm === undefined ? defaultVmm(arch) : undefined;
  if (options.vmm === undefined && !fallback)
    throw new UsageError(`fit: no VMM's layout is known for ${arch}; give the guest's ranges with --ranges FILE`);
  const { vmm, version } = chooseVmm(options.vmm ?? fallback!.name, options.vmmVersion);
  if (vmm.arch !== arch)
    throw new FitInputError(`--vmm: ${vmm.name} is a machine of ${vmm.arch}, the host is one of ${arch}`);
  const memory = options.max ? SMALLEST : memorySize(options.memory!, "--memory", pageSize);
  const maxMemory = options.maxMemory === undefined ? memory : memorySize(options.maxMemory, "--max-memory", pageSize);
  if (maxMemory < memory)
    throw new FitInputError(`--max-memory: ${sizeText(maxMemory)} is less than --memory ${sizeText(memory)}`);
  const bars64 = devices.flatMap(({ device }) => (device.bus === "pci" ? device.bars : []));
  const request: LayoutRequest = {
    memory,
    maxMemory,
    slots: wholeNumber(options.slots ?? (maxMemory > memory ? "1" : "0"), "--slots", 0, 256),
    ...(version && { version }),
    cpuVendor: cpuVendor(options.cpuVendor, arch, iommu.model),
    ...(options.physBits !== undefined && { physBits: addressBits(options.physBits) }),
    ...(options.firmware !== undefined && { firmware: firmware(options.firmware, vmm) }),
    bars64: bars64.reduce((sum, bar) => sum + (bar.type === "memory64" ? BigInt(bar.size) : 0n), 0n),
  };
  return { request, layout: vmm.layout };
}

function addressBits(given: number | string): number {
  return wholeNumber(given, "--phys-bits", 32, 64);
}

function firmware(text: string, vmm: Vmm): Firmware {
  const chosen = FIRMWARES.find((known) => known === text.toLowerCase());
  if (!chosen) throw new FitInputError(`--firmware: unknown firmware "${text}" (there are: ${FIRMWARES.join(", ")})`);
  if (!vmm.hasFirmware)
    throw new FitInputError(`--firmware: only QEMU's q35 and i440fx leave BARs to a firmware, ${vmm.name} does not`);
  return chosen;
}

function memorySize(given: Size, what: string, pageSize: number): bigint {
  const size = sizeOf(given, what);
  if (size < MIB) throw new FitInputError(`${what}: ${sizeText(size)} is too little for a guest (at least 1M)`);
  const page = BigInt(pageSize);
  if (size % page !== 0n)
    throw new FitInputError(`${what}: ${size} bytes is no multiple of the host's page size, ${sizeText(page)}`);
  return size;
}

function cpuVendor(text: string | undefined, arch: HostDescription["arch"], model: string): CpuVendor {
  if (text === undefined) {
    if (arch === "arm64") return "arm";
    if (arch === "ppc64le") return "power";
    return kindOf(model).cpuVendor ?? "intel";
  }
  const vendor = CPU_VENDORS.find((known) => known === text.toLowerCase());
  if (!vendor || vendor === "arm" || vendor === "power")
    throw new FitInputError(`--cpu-vendor: "${text}" is neither amd nor intel`);
  return vendor;
}

/** Bytes of a ranges file: what QEMU prints for hundreds of address spaces. */
const RANGES_MAX = 8 << 20;

function readRanges(file: string): GuestLayout {
  let text: string;
  try {
    text = readInput(file, RANGES_MAX);
  } catch (error) {
    if (!(error instanceof InputFileError)) throw error;
    throw new UsageError(`--ranges: ${inputName(file)} ${error.message}`);
  }
  return parseRangesFile(text, printable(inputName(file)));
}

function checkLayout({ vmm, ranges, highest }: GuestLayout, options: GuestOptions, request?: LayoutRequest): void {
  if (highest >= 1n << 64n)
    throw new FitInputError(`--memory: ${options.memory} would end beyond 64 bits in ${vmm} (at ${hex(highest)})`);
  if (request && request.maxMemory > request.memory && !ranges.some((range) => range.kind === "hotplug"))
    throw new FitInputError(`--max-memory: ${vmm} has no memory hotplug in its layout`);
}

function assume(options: GuestOptions): Assumptions {
  const { viommu = false, chunk, memlock, physBits } = options;
  const piece = chunk === undefined ? undefined : sizeOf(chunk, "--chunk");
  if (piece !== undefined && piece % 4096n !== 0n)
    throw new FitInputError(`--chunk: ${sizeText(piece)} is no multiple of 4 KiB, the smallest page`);
  return {
    viommu,
    ...(piece !== undefined && { chunk: piece }),
    ...(memlock !== undefined && memlock !== "unlimited" && { memlock: sizeOf(memlock, "--memlock") }),
    ...(physBits !== undefined && { physBits: addressBits(physBits) }),
  };
}

function sizeOf(given: Size, what: string): bigint {
  return parseSize(typeof given === "bigint" ? String(given) : given, what);
}

function wholeNumber(given: number | string, what: string, least: number, most: number): number {
  const text = String(given);
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(number >= least && number <= most))
    throw new FitInputError(`${what}: "${text}" is not a whole number from ${least} to ${most}`);
  return number;
}
