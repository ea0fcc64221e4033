import { createHash } from "node:crypto";
import { basename, dirname } from "node:path";
import { FitInputError } from "../../inspect/fit/input-error.ts";
import { bitsFor } from "../../inspect/fit/sizes.ts";
import { allDevices, deviceName } from "../../machine/find-device.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { HostDescriptionError } from "../../machine/host-description-error.ts";
import { type HostOverrides, loadHost, loadHostText, readHostText } from "../../machine/load-host.ts";
import { READY_MADE_NAMES } from "../../machine/ready-made-hosts.ts";
import { UsageError } from "../usage-error.ts";
import type { FitAnswer } from "./answer.ts";
import { answerFit, checkQuestion, type GuestOptions } from "./answer-fit.ts";
import { idsOf } from "./fit-host.ts";

/** A host of a fleet, judged. */
export interface FleetRow {
  /** Its `name`, as its file has it; of a file without one, the file's. */
  readonly host: string;
  /** The file; absent for a ready-made host. */
  readonly file?: string;
  /** The same for hosts that the verdict cannot tell apart; 12 hex digits. Absent for one that cannot be read. */
  readonly shape?: string;
  readonly verdict: "fits" | "fits-if" | "does-not-fit" | "unreadable";
  /** Why it does not fit, or cannot be read: a line each. */
  readonly reasons: readonly string[];
  /** What must be set or known so that it fits. */
  readonly conditions: readonly string[];
  /** What would make it fit, the best first. */
  readonly cures: readonly string[];
  /** The guest's memory, with --max the most that fits. GiB. */
  readonly memory_gib?: number;
  readonly kernel?: string;
  readonly arch?: string;
  readonly iommu?: string;
  /** Of the IOMMU. */
  readonly address_bits?: number;
  /** All of the host's: address, ids as lspci -n has them, and group. */
  readonly devices?: readonly { readonly address: string; readonly id?: string; readonly group: number }[];
}

/** What hosts of one shape have in common. */
type Judged = Omit<FleetRow, "host" | "file">;

/**
 * Judges hosts one after the other. Hosts of one shape are judged once: their files are the same but for comments and
 * what the verdict does not read (shapeOf()). A host that cannot be read gets a row too, and the others go on.
 * @param hosts as -m has them: ready-made names and files
 * @throws UsageError, FitInputError: a question that makes no sense whatever the host
 */
export async function* judgeFleet(
  guest: GuestOptions,
  hosts: readonly string[],
  overrides: HostOverrides = {},
): AsyncGenerator<FleetRow> {
  checkQuestion(guest);
  const known = new Map<string, Judged>();
  for (const source of hosts) {
    if (READY_MADE_NAMES.includes(source)) {
      yield { host: source, ...judged(guest, await loadHost(source, overrides), shapeOf(source, "")) };
      continue;
    }
    try {
      yield await judgedFile(guest, source, overrides, known);
    } catch (error) {
      if (!(error instanceof HostDescriptionError)) throw error;
      const file = basename(source);
      yield { host: file, file: source, verdict: "unreadable", reasons: error.problems, conditions: [], cures: [] };
    }
  }
}

async function judgedFile(
  guest: GuestOptions,
  file: string,
  overrides: HostOverrides,
  known: Map<string, Judged>,
): Promise<FleetRow> {
  const text = readHostText(file);
  const shape = shapeOf(text, dirname(file));
  let found = known.get(shape);
  if (!found) {
    found = judged(guest, await loadHostText(text, file, overrides), shape);
    known.set(shape, found);
  }
  return { host: nameIn(text) ?? basename(file).replace(/\.\w+$/, ""), file, ...found };
}

function judged(guest: GuestOptions, host: HostDescription, shape: string): Judged {
  const facts = {
    shape,
    kernel: host.kernel,
    arch: host.arch,
    iommu: host.iommu.model,
    address_bits: bitsFor(host.iommu.apertureLast),
    devices: allDevices(host).map(({ device, group }) => ({
      address: deviceName(device),
      ...(device.bus === "pci" && { id: idsOf(device) }),
      group: group.id,
    })),
  };
  let answer: FitAnswer;
  try {
    answer = answerFit(guest, host);
  } catch (error) {
    // this host has not what the question asks for: others may
    if (!(error instanceof UsageError || error instanceof FitInputError || error instanceof HostDescriptionError))
      throw error;
    const message = error.message.replaceAll(` of host ${host.name}`, "").replaceAll(`host ${host.name} has`, "it has");
    return { ...facts, verdict: "does-not-fit", reasons: [message], conditions: [], cures: [] };
  }
  const { result, memory } = answer;
  return {
    ...facts,
    verdict: answer.verdict,
    reasons: result.reasons,
    conditions: result.conditions,
    cures: result.cures.map(({ text }) => text),
    ...(memory !== undefined && { memory_gib: Number(memory) / 2 ** 30 }),
  };
}

/** Lines that say what a host is called, or nothing; and values that no verdict reads, where they are plain. */
const WITHOUT_MEANING: readonly RegExp[] = [
  /^\s*(?:#.*)?$/,
  /^(?:name|machine|description): /,
  /^\s+(?:- )?name: (?:[\w .,()/&+-]+|"[^"\\]*")$/,
  /^\s+irq: \d+$/,
  /^\s+numa_node: -?\d+$/,
];

/** A file that is not written in lines, as JSON may be. */
const FLOW = /^\s*[{[]/;

/**
 * What the verdict on a host depends on, as a digest: the text of its file without comments, the names of host and
 * devices, interrupt lines and NUMA nodes. Of a file that names other files the folder counts too.
 */
export function shapeOf(text: string, folder: string): string {
  const lines = FLOW.test(text)
    ? [text.replace(/"(?:name|description)":\s*"[^"\\]*",?/g, "")]
    : text.split("\n").filter((line) => !WITHOUT_MEANING.some((pattern) => pattern.test(line)));
  const rest = lines.join("\n");
  const hash = createHash("sha256").update(rest);
  if (/\.{0,2}\/\w/.test(rest)) hash.update(`\0${folder}`);
  return hash.digest("hex").slice(0, 12);
}

/** The host's name, as the file has it. */
function nameIn(text: string): string | undefined {
  const plain = /^(?:name|machine): *(?:"([^"\\]*)"|'([^'\\]*)'|([^"'#\n][^#\n]*))/m.exec(text);
  const found =
    plain?.[1] ?? plain?.[2] ?? plain?.[3]?.trim() ?? /^\s*\{\s*"(?:name|machine)":\s*"([^"\\]*)"/.exec(text)?.[1];
  return found === "" ? undefined : found;
}
