import { checkFit, type FitResult } from "../inspect/fit/fit.ts";
import { FitInputError } from "../inspect/fit/input-error.ts";
import type { FitRequest, PlannedLayout } from "../inspect/fit/judge.ts";
import {
  CPU_VENDORS,
  type CpuVendor,
  FIRMWARES,
  type Firmware,
  type GuestLayout,
  type LayoutRequest,
  type Vmm,
} from "../inspect/fit/layout.ts";
import { chooseVmm, defaultVmm } from "../inspect/fit/layouts/index.ts";
import { parseRangesFile } from "../inspect/fit/layouts/ranges-file.ts";
import type { Assumptions } from "../inspect/fit/limits.ts";
import { mostThatFits } from "../inspect/fit/most.ts";
import { COLOURED, PLAIN, reportJson, reportLines } from "../inspect/fit/report.ts";
import { hex, MIB, parseSize, sizeText } from "../inspect/fit/sizes.ts";
import { kindOf } from "../iommu/kinds.ts";
import { printable } from "../kernel/printable.ts";
import type { FoundDevice } from "../machine/find-device.ts";
import type { HostDescription } from "../machine/host-description.ts";
import { InputFileError, inputName, readInput } from "../machine/input-file.ts";
import { type HostOverrides, loadHost } from "../machine/load-host.ts";
import { hasColours } from "./colours.ts";
import { UsageError } from "./errors.ts";
import { fitHost } from "./fit-host.ts";
import { printLine } from "./output.ts";

/** Where the search of --max begins: the smallest guest that there is. */
const SMALLEST = MIB;

export interface FitOptions extends HostOverrides {
  /** Hosts, each judged by itself; the default one when left out. */
  readonly machine?: readonly string[];
  readonly memory?: string;
  readonly max?: boolean;
  readonly firmware?: string;
  readonly explain?: boolean;
  readonly maxMemory?: string;
  readonly slots?: string;
  readonly vmm?: string;
  readonly vmmVersion?: string;
  readonly ranges?: string;
  readonly device?: readonly string[];
  readonly cpuVendor?: string;
  readonly physBits?: string;
  readonly viommu?: boolean;
  readonly chunk?: string;
  readonly memlock?: string;
  readonly json?: boolean;
}

/** `uvfio fit`: exit status 0 when the guest fits every host that is named, 1 when it does not. */
export async function fitCommand(options: FitOptions): Promise<number> {
  checkCombination(options);
  const { machine = [undefined], kernel, api } = options;
  const answers: Answer[] = [];
  for (const name of machine) answers.push(answer(options, await loadHost(name, { kernel, api })));
  if (options.json) {
    const reports = answers.map(({ request, result }) => reportJson(request, result));
    printLine(JSON.stringify(reports.length === 1 ? reports[0] : reports, null, 2));
  } else {
    const style = hasColours(1) ? COLOURED : PLAIN;
    for (const [index, { request, result, heading }] of answers.entries()) {
      if (index > 0) printLine();
      if (answers.length > 1) printLine(style.heading(`== ${request.host.description.name}`));
      if (heading !== undefined) printLine(heading);
      for (const line of reportLines(request, result, style, options.explain ?? false)) printLine(line);
    }
  }
  return answers.every(({ result }) => result.fits) ? 0 : 1;
}

interface Answer {
  readonly request: FitRequest;
  readonly result: FitResult;
  /** What the question was, where the report does not show it. */
  readonly heading?: string;
}

function answer(options: FitOptions, description: HostDescription): Answer {
  const host = fitHost(description, options.device ?? []);
  const planned = options.ranges === undefined ? plan(options, description, host.devices) : undefined;
  const base = { host, assumptions: assume(options), ...(planned && { planned }) };
  if (options.max) return most(base, planned!);
  const layout = planned ? planned.layout(planned.request) : readRanges(options.ranges!);
  checkLayout(layout, options, planned?.request);
  const request: FitRequest = { ...base, layout };
  return { request, result: checkFit(request) };
}

/** --max: the largest guest that fits; when none does, the smallest, which says why. */
function most(base: Omit<FitRequest, "layout">, planned: PlannedLayout): Answer {
  const found = mostThatFits(base, planned);
  if (!found) {
    const request: FitRequest = { ...base, planned, layout: planned.layout(planned.request) };
    return { request, result: checkFit(request), heading: "No guest fits, however small:" };
  }
  const memory = found.planned!.request.memory;
  return { request: found, result: checkFit(found), heading: `At most ${sizeText(memory)} fits.` };
}

function checkCombination({ memory, max, ranges, vmm, vmmVersion, maxMemory, firmware }: FitOptions): void {
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
  options: FitOptions,
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

function addressBits(text: string): number {
  return wholeNumber(text, "--phys-bits", 32, 64);
}

function firmware(text: string, vmm: Vmm): Firmware {
  const chosen = FIRMWARES.find((known) => known === text.toLowerCase());
  if (!chosen) throw new FitInputError(`--firmware: unknown firmware "${text}" (there are: ${FIRMWARES.join(", ")})`);
  if (!vmm.hasFirmware)
    throw new FitInputError(`--firmware: only QEMU's q35 and i440fx leave BARs to a firmware, ${vmm.name} does not`);
  return chosen;
}

function memorySize(text: string, what: string, pageSize: number): bigint {
  const size = parseSize(text, what);
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

function checkLayout({ vmm, ranges, highest }: GuestLayout, options: FitOptions, request?: LayoutRequest): void {
  if (highest >= 1n << 64n)
    throw new FitInputError(`--memory: ${options.memory} would end beyond 64 bits in ${vmm} (at ${hex(highest)})`);
  if (request && request.maxMemory > request.memory && !ranges.some((range) => range.kind === "hotplug"))
    throw new FitInputError(`--max-memory: ${vmm} has no memory hotplug in its layout`);
}

function assume(options: FitOptions): Assumptions {
  const { viommu = false, chunk, memlock, physBits } = options;
  const piece = chunk === undefined ? undefined : parseSize(chunk, "--chunk");
  if (piece !== undefined && piece % 4096n !== 0n)
    throw new FitInputError(`--chunk: ${sizeText(piece)} is no multiple of 4 KiB, the smallest page`);
  return {
    viommu,
    ...(piece !== undefined && { chunk: piece }),
    ...(memlock !== undefined && memlock !== "unlimited" && { memlock: parseSize(memlock, "--memlock") }),
    ...(physBits !== undefined && { physBits: addressBits(physBits) }),
  };
}

function wholeNumber(text: string, what: string, least: number, most: number): number {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(number >= least && number <= most))
    throw new FitInputError(`${what}: "${text}" is not a whole number from ${least} to ${most}`);
  return number;
}
